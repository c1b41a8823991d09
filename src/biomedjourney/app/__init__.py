"""`app`: counterfactuals of a film on a local web page."""
