rule encode_images:
    input:
        pictures=shards("results/pixels/{shard}.parquet", "preprocess"),
        first_stage="results/models/first-stage",
    output:
        latents="results/latents/images.parquet",
    log:
        "logs/encode/images.log",
    benchmark:
        "benchmarks/encode/images.tsv"
    priority: 2
    conda:
        ENVIRONMENT
    threads: threads_of("encode")
    resources:
        **resources_of("encode"),
    params:
        config=settings("encode pictures"),
        code=code("encode"),
        pictures=lambda wildcards, input: flags("pictures", input.pictures),
    shell:
        "biomedjourney encode pictures --config {params.config:q} {params.pictures}"
        " --first-stage {input.first_stage} --out {output.latents} --threads {threads} 2>&1 | tee {log}"


use rule encode_images as encode_priors with:
    input:
        pictures=shards("results/registered/{shard}.parquet", "register"),
        first_stage="results/models/first-stage",
    output:
        latents="results/latents/priors.parquet",
    log:
        "logs/encode/priors.log",
    benchmark:
        "benchmarks/encode/priors.tsv"


rule encode_texts:
    input:
        singles="results/tables/singles.parquet",
        progressions="results/tables/progressions.parquet",
        text_tower="results/models/text-tower",
    output:
        texts="results/texts/texts.parquet",
    log:
        "logs/encode/texts.log",
    benchmark:
        "benchmarks/encode/texts.tsv"
    priority: 2
    conda:
        ENVIRONMENT
    threads: threads_of("encode")
    resources:
        **resources_of("encode"),
    params:
        config=settings("encode texts"),
        code=code("encode"),
    shell:
        "biomedjourney encode texts --config {params.config:q} --singles {input.singles}"
        " --progressions {input.progressions} --text-tower {input.text_tower} --out {output.texts}"
        " --threads {threads} 2>&1 | tee {log}"
