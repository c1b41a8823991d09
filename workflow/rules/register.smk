rule register_priors:
    """Register prior images onto later ones."""
    input:
        pairs="results/tables/pairs.parquet",
        images="results/tables/images.parquet",
        pixels=PIXELS,
    output:
        registered="results/registered/{direction}/{shard}.parquet",
        registrations="results/registrations/{direction}/{shard}.parquet",
    log:
        "logs/register/{direction}/{shard}.log",
    benchmark:
        "benchmarks/register/{direction}/{shard}.tsv"
    priority: 3
    conda:
        ENVIRONMENT
    threads: threads_of("register")
    resources:
        **resources_of("register"),
    params:
        settings=settings("register"),
        code=lambda wildcards: code("register"),
        pixels=lambda wildcards, input: flags("pixels", input.pixels),
    shell:
        'biomedjourney --log {log:q} register --config "$BIOMEDJOURNEY_CONFIG" --direction {wildcards.direction}'
        " --pairs {input.pairs:q} --images {input.images:q} {params.pixels} --shard {wildcards.shard}"
        " --registered {output.registered:q} --registrations {output.registrations:q}"
        " --processes {threads} 2>&1 | tee -a {log:q}"
