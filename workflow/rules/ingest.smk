rule ingest_raw_files:
    input:
        **RAW,
    output:
        patients="results/tables/patients.parquet",
        studies="results/tables/studies.parquet",
        images="results/tables/images.parquet",
        cohort="results/ingest/cohort.parquet",
        exclusions="results/ingest/exclusions.parquet",
    log:
        "logs/ingest.log",
    benchmark:
        "benchmarks/ingest.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("ingest")
    resources:
        **resources_of("ingest"),
    params:
        config=settings("ingest"),
        code=code("ingest"),
    shell:
        "biomedjourney ingest --config {params.config:q} --patients {output.patients} --studies {output.studies}"
        " --images {output.images} --cohort {output.cohort} --exclusions {output.exclusions} 2>&1 | tee {log}"
