rule pair_studies:
    """Make pairs of studies, and the split."""
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
        "logs/pair/tables.log",
    benchmark:
        "benchmarks/pair/tables.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("pair")
    resources:
        **resources_of("pair"),
    params:
        settings=settings("pair tables"),
        code=lambda wildcards: code("pair tables"),
    shell:
        'biomedjourney --log {log:q} pair tables --config "$BIOMEDJOURNEY_CONFIG" --studies {input.studies:q}'
        " --images {input.images:q} --image-files {input.image_files:q} --ingest-cohort {input.ingest_cohort:q}"
        " --ingest-exclusions {input.ingest_exclusions:q} --pairs {output.pairs:q}"
        " --singles {output.singles:q} --cohort {output.cohort:q}"
        " --exclusions {output.exclusions:q} 2>&1 | tee -a {log:q}"


rule list_images:
    """List the images to download."""
    input:
        studies="results/tables/studies.parquet",
        images="results/tables/images.parquet",
    output:
        list=IMAGES_NEEDED,
    log:
        "logs/pair/images-needed.log",
    benchmark:
        "benchmarks/pair/images-needed.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("pair")
    resources:
        **resources_of("pair"),
    params:
        settings=settings("pair images"),
        code=lambda wildcards: code("pair images"),
    shell:
        'biomedjourney --log {log:q} pair images --config "$BIOMEDJOURNEY_CONFIG" --studies {input.studies:q}'
        " --images {input.images:q} --out {output.list:q} 2>&1 | tee -a {log:q}"


rule list_missing_images:
    """List the images that are still missing."""
    input:
        studies="results/tables/studies.parquet",
        images="results/tables/images.parquet",
        image_files="results/ingest/image-files.parquet",
    output:
        list=IMAGES_MISSING,
    log:
        "logs/pair/images-missing.log",
    benchmark:
        "benchmarks/pair/images-missing.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("pair")
    resources:
        **resources_of("pair"),
    params:
        settings=settings("pair images"),
        code=lambda wildcards: code("pair images"),
    shell:
        'biomedjourney --log {log:q} pair images --config "$BIOMEDJOURNEY_CONFIG" --studies {input.studies:q}'
        " --images {input.images:q} --image-files {input.image_files:q} --out {output.list:q} 2>&1 | tee -a {log:q}"
