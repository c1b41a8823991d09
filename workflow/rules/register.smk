rule register_priors:
    input:
        pairs="results/tables/pairs.parquet",
        pixels=shards("results/pixels/{shard}.parquet", "preprocess"),
    output:
        registered="results/registered/{shard}.parquet",
        registrations="results/registered/{shard}.registrations.parquet",
    log:
        "logs/register/{shard}.log",
    benchmark:
        "benchmarks/register/{shard}.tsv"
    priority: 3
    conda:
        ENVIRONMENT
    threads: threads_of("register")
    resources:
        **resources_of("register"),
    params:
        config=settings("register"),
        code=code("register"),
        pixels=lambda wildcards, input: flags("pixels", input.pixels),
    shell:
        "biomedjourney register --config {params.config:q} --pairs {input.pairs} {params.pixels}"
        " --shard {wildcards.shard} --registered {output.registered} --registrations {output.registrations}"
        " --processes {threads} 2>&1 | tee {log}"


rule gather_registrations:
    input:
        parts=shards("results/registered/{shard}.registrations.parquet", "register"),
    output:
        registrations="results/tables/registrations.parquet",
    log:
        "logs/register/gather.log",
    benchmark:
        "benchmarks/register/gather.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    shell:
        "biomedjourney gather registrations {input.parts} --out {output.registrations} 2>&1 | tee {log}"
