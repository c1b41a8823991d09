rule rewrite_reports:
    """Write progression descriptions."""
    input:
        pairs="results/tables/pairs.parquet",
        studies="results/tables/studies.parquet",
    output:
        progressions="results/progressions/{writer}/{direction}.parquet",
    log:
        "logs/rewrite/{writer}/{direction}.log",
    benchmark:
        "benchmarks/rewrite/{writer}/{direction}.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("rewrite")
    resources:
        **resources_of("rewrite"),
    params:
        settings=lambda wildcards: settings("rewrite", writer=wildcards.writer),
        code=lambda wildcards: rewrite_code(wildcards.writer),
    shell:
        'biomedjourney --log {log:q} rewrite --config "$BIOMEDJOURNEY_CONFIG" --writer {wildcards.writer}'
        " --direction {wildcards.direction} --pairs {input.pairs:q} --studies {input.studies:q}"
        " --progressions {output.progressions:q} 2>&1 | tee -a {log:q}"
