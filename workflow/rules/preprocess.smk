rule preprocess_images:
    """Bring images into canonical form."""
    input:
        pairs="results/tables/pairs.parquet",
        singles="results/tables/singles.parquet",
        images="results/tables/images.parquet",
    output:
        pixels="results/pixels/{shard}.parquet",
    log:
        "logs/preprocess/{shard}.log",
    benchmark:
        "benchmarks/preprocess/{shard}.tsv"
    priority: 4  # it takes all cores of a small machine, and most of the rest waits for it
    conda:
        ENVIRONMENT
    threads: threads_of("preprocess")
    resources:
        **resources_of("preprocess"),
    params:
        settings=settings("preprocess"),
        code=lambda wildcards: code("preprocess"),
    shell:
        'biomedjourney --log {log:q} preprocess --config "$BIOMEDJOURNEY_CONFIG" --pairs {input.pairs:q}'
        " --singles {input.singles:q} --images {input.images:q} --shard {wildcards.shard} --out {output.pixels:q}"
        " --processes {threads} 2>&1 | tee -a {log:q}"
