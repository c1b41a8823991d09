rule ingest_raw_files:
    """Read, check and join the raw files."""
    input:
        **RAW,
    output:
        patients="results/tables/patients.parquet",
        studies="results/tables/studies.parquet",
        images="results/tables/images.parquet",
        cohort="results/ingest/cohort.parquet",
        exclusions="results/ingest/exclusions.parquet",
    log:
        "logs/ingest/tables.log",
    benchmark:
        "benchmarks/ingest/tables.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("ingest")
    resources:
        **resources_of("ingest"),
    params:
        settings=settings("ingest tables"),
        code=lambda wildcards: code("ingest tables"),
    shell:
        'biomedjourney --log {log:q} ingest tables --config "$BIOMEDJOURNEY_CONFIG" --patients {output.patients:q}'
        " --studies {output.studies:q} --images {output.images:q} --cohort {output.cohort:q}"
        " --exclusions {output.exclusions:q} --processes {threads} 2>&1 | tee -a {log:q}"


rule check_images:
    """Look for damaged image files."""
    input:
        images="results/tables/images.parquet",
        checksums=CHECKSUMS if config["ingest"]["checksums"] else [],
    output:
        files="results/ingest/image-files.parquet",
    log:
        "logs/ingest/check.log",
    benchmark:
        "benchmarks/ingest/check.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("ingest")
    resources:
        **resources_of("ingest"),
    params:
        settings=settings("ingest check"),
        code=lambda wildcards: code("ingest check"),
    shell:
        'biomedjourney --log {log:q} ingest check --config "$BIOMEDJOURNEY_CONFIG" --images {input.images:q}'
        " --out {output.files:q} --processes {threads} 2>&1 | tee -a {log:q}"
