rule pair_studies:
    input:
        studies="results/tables/studies.parquet",
        images="results/tables/images.parquet",
        image_files="results/ingest/image-files.parquet",
        ingest_cohort="results/ingest/cohort.parquet",
        ingest_exclusions="results/ingest/exclusions.parquet",
    output:
        pairs="results/tables/pairs.parquet",
        singles="results/tables/singles.parquet",
        cohort="results/pair/cohort.parquet",
        exclusions="results/pair/exclusions.parquet",
    log:
        "logs/pair.log",
    benchmark:
        "benchmarks/pair.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("pair")
    resources:
        **resources_of("pair"),
    params:
        settings=settings("pair"),
        code=code("pair"),
    shell:
        'biomedjourney --log {log:q} pair --config "$BIOMEDJOURNEY_CONFIG" --studies {input.studies:q}'
        " --images {input.images:q} --image-files {input.image_files:q} --ingest-cohort {input.ingest_cohort:q}"
        " --ingest-exclusions {input.ingest_exclusions:q} --pairs {output.pairs:q}"
        " --singles {output.singles:q} --cohort {output.cohort:q}"
        " --exclusions {output.exclusions:q} 2>&1 | tee -a {log:q}"
