rule pretrain_first_stage:
    input:
        singles="results/tables/singles.parquet",
        pixels=PIXELS,
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
        **resources_of("pretrain", gpus=False),
    params:
        settings=settings("pretrain first-stage"),
        code=code("pretrain first-stage"),
        pixels=lambda wildcards, input: flags("pixels", input.pixels),
    shell:
        'biomedjourney --log {log:q} pretrain first-stage --config "$BIOMEDJOURNEY_CONFIG" --singles {input.singles:q}'
        " {params.pixels} --out {output.model:q} --threads {threads} 2>&1 | tee -a {log:q}"


rule pretrain_text_tower:
    input:
        singles="results/tables/singles.parquet",
        pairs="results/tables/pairs.parquet",
        progressions=f"results/progressions/{WRITERS[0]}/forward.parquet",
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
        settings=settings("pretrain text-tower"),
        code=code("pretrain text-tower"),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} pretrain text-tower --config "$BIOMEDJOURNEY_CONFIG"'
        " --singles {input.singles:q} --pairs {input.pairs:q} --progressions {input.progressions:q}"
        " --studies {input.studies:q}"
        " --out {output.model:q} --threads {threads} 2>&1 | tee -a {log:q}"


rule pretrain_judges:
    input:
        singles="results/tables/singles.parquet",
        studies="results/tables/studies.parquet",
        patients="results/tables/patients.parquet",
        pixels=PIXELS,
    output:
        model=directory("results/models/judges"),
    log:
        "logs/pretrain/judges.log",
    benchmark:
        "benchmarks/pretrain/judges.tsv"
    priority: 3  # the longest job on one core: begun late, it leaves the other core idle
    conda:
        ENVIRONMENT
    threads: threads_of("pretrain")
    resources:
        **resources_of("pretrain"),
    params:
        settings=settings("pretrain judges"),
        code=code("pretrain judges"),
        pixels=lambda wildcards, input: flags("pixels", input.pixels),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} pretrain judges --config "$BIOMEDJOURNEY_CONFIG"'
        " --singles {input.singles:q} --studies {input.studies:q} --patients {input.patients:q} {params.pixels}"
        " --out {output.model:q} --threads {threads} 2>&1 | tee -a {log:q}"
