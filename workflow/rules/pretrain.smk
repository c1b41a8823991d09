rule pretrain_first_stage:
    input:
        singles="results/tables/singles.parquet",
        pixels=shards("results/pixels/{shard}.parquet", "preprocess"),
    output:
        model=directory("results/models/first-stage"),
    log:
        "logs/pretrain/first-stage.log",
    benchmark:
        "benchmarks/pretrain/first-stage.tsv"
    priority: 3
    conda:
        ENVIRONMENT
    threads: threads_of("pretrain")
    resources:
        **resources_of("pretrain"),
    params:
        config=settings("pretrain first-stage"),
        code=code("pretrain"),
        pixels=lambda wildcards, input: flags("pixels", input.pixels),
    shell:
        "biomedjourney pretrain first-stage --config {params.config:q} --singles {input.singles} {params.pixels}"
        " --out {output.model} --threads {threads} 2>&1 | tee {log}"


rule pretrain_text_tower:
    input:
        singles="results/tables/singles.parquet",
        pairs="results/tables/pairs.parquet",
        progressions="results/tables/progressions.parquet",
        studies="results/tables/studies.parquet",
    output:
        model=directory("results/models/text-tower"),
    log:
        "logs/pretrain/text-tower.log",
    benchmark:
        "benchmarks/pretrain/text-tower.tsv"
    priority: 2
    conda:
        ENVIRONMENT
    threads: threads_of("pretrain")
    resources:
        **resources_of("pretrain"),
    params:
        config=settings("pretrain text-tower"),
        code=code("pretrain"),
    shell:
        "biomedjourney pretrain text-tower --config {params.config:q} --singles {input.singles}"
        " --pairs {input.pairs} --progressions {input.progressions} --studies {input.studies}"
        " --out {output.model} --threads {threads} 2>&1 | tee {log}"


rule pretrain_judges:
    input:
        singles="results/tables/singles.parquet",
        studies="results/tables/studies.parquet",
        patients="results/tables/patients.parquet",
        pixels=shards("results/pixels/{shard}.parquet", "preprocess"),
    output:
        model=directory("results/models/judges"),
    log:
        "logs/pretrain/judges.log",
    benchmark:
        "benchmarks/pretrain/judges.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("pretrain")
    resources:
        **resources_of("pretrain"),
    params:
        config=settings("pretrain judges"),
        code=code("pretrain"),
        pixels=lambda wildcards, input: flags("pixels", input.pixels),
    shell:
        "biomedjourney pretrain judges --config {params.config:q} --singles {input.singles}"
        " --studies {input.studies} --patients {input.patients} {params.pixels}"
        " --out {output.model} --threads {threads} 2>&1 | tee {log}"
