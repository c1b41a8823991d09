rule pretrain_first_stage:
    """Load or train the first stage."""
    input:
        lambda wildcards: weight_files("pretrain.first_stage."),
        **part_tables("first_stage", singles="results/tables/singles.parquet", pixels=PIXELS),
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
        code=lambda wildcards: pretrain_code("first_stage"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
    shell:
        'biomedjourney --log {log:q} pretrain first-stage --config "$BIOMEDJOURNEY_CONFIG" {params.inputs}'
        " --out {output.model:q} --threads {threads} 2>&1 | tee -a {log:q}"


rule pretrain_text_tower:
    """Load or train the text tower."""
    input:
        lambda wildcards: weight_files("pretrain.text_tower."),
        **part_tables(
            "text_tower",
            singles="results/tables/singles.parquet",
            pairs="results/tables/pairs.parquet",
            progressions=f"results/progressions/{WRITERS[0]}/forward.parquet",
            studies="results/tables/studies.parquet",
        ),
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
        code=lambda wildcards: pretrain_code("text_tower"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} pretrain text-tower --config "$BIOMEDJOURNEY_CONFIG"'
        " {params.inputs} --out {output.model:q} --threads {threads} 2>&1 | tee -a {log:q}"


rule pretrain_judges:
    """Load or train the judges."""
    input:
        lambda wildcards: weight_files("pretrain.judges."),
        **part_tables(
            "judges",
            singles="results/tables/singles.parquet",
            studies="results/tables/studies.parquet",
            patients="results/tables/patients.parquet",
            pixels=PIXELS,
        ),
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
        code=lambda wildcards: pretrain_code("judges"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
        part="judges",
    shell:
        "{params.devices} biomedjourney --log {log:q} pretrain {params.part}"
        ' --config "$BIOMEDJOURNEY_CONFIG" {params.inputs}'
        " --out {output.model:q} --threads {threads} 2>&1 | tee -a {log:q}"


if SECOND_JUDGES:

    use rule pretrain_judges as pretrain_second_judges with:
        input:
            lambda wildcards: weight_files("pretrain.second_judges."),
            **part_tables(
                "second_judges",
                singles="results/tables/singles.parquet",
                studies="results/tables/studies.parquet",
                patients="results/tables/patients.parquet",
                pixels=PIXELS,
            ),
        output:
            model=directory("results/models/second-judges"),
        log:
            "logs/pretrain/second-judges.log",
        benchmark:
            "benchmarks/pretrain/second-judges.tsv"
        priority: 0  # the pictures do not wait for it
        params:
            settings=settings("pretrain second-judges"),
            code=lambda wildcards: pretrain_code("second_judges"),
            part="second-judges",


if SEGMENTER:

    rule pretrain_segmenter:
        """Load or train the segmenter."""
        input:
            lambda wildcards: weight_files("pretrain.segmenter."),
            **part_tables(
                "segmenter",
                singles="results/tables/singles.parquet",
                organs="results/organs.parquet",
                pixels=PIXELS,
            ),
        output:
            model=directory(SEGMENTER),
        log:
            "logs/pretrain/segmenter.log",
        benchmark:
            "benchmarks/pretrain/segmenter.tsv"
        conda:
            ENVIRONMENT
        threads: threads_of("pretrain")
        resources:
            **resources_of("pretrain", gpus=False),
        params:
            settings=settings("pretrain segmenter"),
            code=lambda wildcards: pretrain_code("segmenter"),
            inputs=lambda wildcards, input: input_flags(dict(input.items())),
        shell:
            'biomedjourney --log {log:q} pretrain segmenter --config "$BIOMEDJOURNEY_CONFIG" {params.inputs}'
            " --out {output.model:q} --threads {threads} 2>&1 | tee -a {log:q}"
