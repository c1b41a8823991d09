rule encode_images:
    """Encode the images as latents."""
    input:
        pictures="results/pixels/{shard}.parquet",
        first_stage="results/models/first-stage",
    output:
        latents="results/latents/images/{shard}.parquet",
    log:
        "logs/encode/images/{shard}.log",
    benchmark:
        "benchmarks/encode/images/{shard}.tsv"
    priority: 2
    conda:
        ENVIRONMENT
    threads: threads_of("encode")
    resources:
        **resources_of("encode"),
    params:
        settings=settings("encode pictures"),
        code=lambda wildcards: code("encode pictures"),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} encode pictures --config "$BIOMEDJOURNEY_CONFIG"'
        " --pictures {input.pictures:q} --first-stage {input.first_stage:q} --out {output.latents:q}"
        " --threads {threads} 2>&1 | tee -a {log:q}"


use rule encode_images as encode_priors with:
    input:
        pictures="results/registered/{direction}/{shard}.parquet",
        first_stage="results/models/first-stage",
    output:
        latents="results/latents/priors/{direction}/{shard}.parquet",
    log:
        "logs/encode/priors/{direction}/{shard}.log",
    benchmark:
        "benchmarks/encode/priors/{direction}/{shard}.tsv"


rule encode_reports:
    """Encode texts as token states."""
    input:
        singles="results/tables/singles.parquet",
        text_tower="results/models/text-tower",
    output:
        texts="results/texts/reports.parquet",
    log:
        "logs/encode/reports.log",
    benchmark:
        "benchmarks/encode/reports.tsv"
    priority: 2
    conda:
        ENVIRONMENT
    threads: threads_of("encode")
    resources:
        **resources_of("encode"),
    params:
        settings=settings("encode texts"),
        code=lambda wildcards: code("encode texts"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} encode texts --config "$BIOMEDJOURNEY_CONFIG" {params.inputs}'
        " --out {output.texts:q} --threads {threads} 2>&1 | tee -a {log:q}"


use rule encode_reports as encode_descriptions with:
    input:
        progressions="results/progressions/{writer}/{direction}.parquet",
        text_tower="results/models/text-tower",
    output:
        texts="results/texts/{writer}/{direction}.parquet",
    log:
        "logs/encode/{writer}/{direction}.log",
    benchmark:
        "benchmarks/encode/{writer}/{direction}.tsv"
