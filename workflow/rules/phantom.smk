if config["phantom"] is not None:

    rule draw_phantom:
        """Draw the embedded cohort as raw files."""
        output:
            **RAW,
            checksums=CHECKSUMS,
            truth="results/tables/truth.parquet",
            organs="results/organs.parquet",
        log:
            "logs/phantom.log",
        benchmark:
            "benchmarks/phantom.tsv"
        conda:
            ENVIRONMENT
        threads: threads_of("phantom")
        resources:
            **resources_of("phantom"),
        params:
            settings=settings("phantom"),
            code=lambda wildcards: code("phantom"),
            out=lambda wildcards, output: os.path.dirname(os.path.dirname(output.checksums)),
        shell:
            'biomedjourney --log {log:q} phantom --config "$BIOMEDJOURNEY_CONFIG" --out {params.out:q}'
            " --truth {output.truth:q} --organs {output.organs:q} --processes {threads} 2>&1 | tee -a {log:q}"
