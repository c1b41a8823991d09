rule rewrite_reports:
    input:
        pairs="results/tables/pairs.parquet",
        studies="results/tables/studies.parquet",
    output:
        progressions="results/tables/progressions.parquet",
    log:
        "logs/rewrite.log",
    benchmark:
        "benchmarks/rewrite.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("rewrite")
    resources:
        **resources_of("rewrite"),
    params:
        config=settings("rewrite"),
        code=code("rewrite"),
    shell:
        "biomedjourney rewrite --config {params.config:q} --pairs {input.pairs} --studies {input.studies}"
        " --progressions {output.progressions} 2>&1 | tee {log}"
