if STAND_INS:

    rule train_stand_in:
        """Train a stand-in for published weights."""
        output:
            model=directory("results/models/{system}"),
        log:
            "logs/generate/stand-ins/{system}.log",
        benchmark:
            "benchmarks/generate/stand-ins/{system}.tsv"
        wildcard_constraints:
            system="|".join(STAND_INS),
        conda:
            ENVIRONMENT
        threads: threads_of("generate")
        resources:
            **resources_of("generate"),
        params:
            settings=lambda wildcards: settings("generate stand-in", system=wildcards.system),
            code=lambda wildcards: code("generate stand-in"),
            devices=devices,
        shell:
            '{params.devices} biomedjourney --log {log:q} generate stand-in --config "$BIOMEDJOURNEY_CONFIG"'
            " --system {wildcards.system} --out {output.model:q} --threads {threads} 2>&1 | tee -a {log:q}"


rule generate_sweep:
    """Draw validation pairs at several guidance scales."""
    input:
        pipeline_files,
        unpack(lambda wildcards: system_inputs(wildcards.system, test=False)),
    output:
        pictures="results/sweeps/{system}/{shard}.parquet",
    log:
        "logs/generate/sweeps/{system}/{shard}.log",
    benchmark:
        "benchmarks/generate/sweeps/{system}/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("generate")
    resources:
        **resources_of("generate"),
    params:
        settings=lambda wildcards: settings("generate sweep", system=wildcards.system),
        code=drawing_code("generate sweep"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} generate sweep --config "$BIOMEDJOURNEY_CONFIG"'
        " --system {wildcards.system} --shard {wildcards.shard} {params.inputs} --out {output.pictures:q}"
        " --threads {threads} 2>&1 | tee -a {log:q}"


rule generate_samplers:
    """Draw validation pairs with several numbers of steps."""
    input:
        unpack(lambda wildcards: system_inputs(wildcards.system, test=False)),
        guidance=lambda wildcards: guidance_of(wildcards.system),
    output:
        pictures="results/sampled/{system}/{shard}.parquet",
    log:
        "logs/generate/samplers/{system}/{shard}.log",
    benchmark:
        "benchmarks/generate/samplers/{system}/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("generate")
    resources:
        **resources_of("generate"),
    params:
        settings=lambda wildcards: settings("generate samplers", system=wildcards.system),
        code=drawing_code("generate samplers"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} generate samplers --config "$BIOMEDJOURNEY_CONFIG"'
        " --system {wildcards.system} --shard {wildcards.shard} {params.inputs} --out {output.pictures:q}"
        " --threads {threads} 2>&1 | tee -a {log:q}"


rule generate_pictures:
    """Draw one counterfactual per test pair."""
    input:
        pipeline_files,
        unpack(lambda wildcards: system_inputs(wildcards.system, test=True)),
    output:
        pictures="results/generated/{system}/{shard}.parquet",
    log:
        "logs/generate/{system}/{shard}.log",
    benchmark:
        "benchmarks/generate/{system}/{shard}.tsv"
    wildcard_constraints:
        system="|".join(MODELS),
    conda:
        ENVIRONMENT
    threads: threads_of("generate")
    resources:
        **resources_of("generate"),
    params:
        settings=lambda wildcards: settings("generate pictures", system=wildcards.system),
        code=drawing_code("generate pictures"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} generate pictures --config "$BIOMEDJOURNEY_CONFIG"'
        " --system {wildcards.system} --shard {wildcards.shard} {params.inputs} --out {output.pictures:q}"
        " --threads {threads} 2>&1 | tee -a {log:q}"


rule copy_pictures:
    """Copy the pictures of a system without a model."""
    input:
        triples=FIRST_TRIPLES,
        stored=lambda wildcards: stored_pictures(wildcards.system),
    output:
        pictures="results/generated/{system}/{shard}.parquet",
    log:
        "logs/generate/{system}/{shard}.log",
    benchmark:
        "benchmarks/generate/{system}/{shard}.tsv"
    wildcard_constraints:
        system="|".join(COPIES) or "-",
    conda:
        ENVIRONMENT
    threads: 1
    params:
        settings=lambda wildcards: settings("generate copies", system=wildcards.system),
        code=lambda wildcards: code("generate copies"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
    shell:
        'biomedjourney --log {log:q} generate copies --config "$BIOMEDJOURNEY_CONFIG" --system {wildcards.system}'
        " --shard {wildcards.shard} {params.inputs} --out {output.pictures:q} 2>&1 | tee -a {log:q}"


rule generate_soundness:
    """Draw edits whose result is known."""
    input:
        model=f"results/models/{MAIN_RUN}",
        first_stage="results/models/first-stage",
        text_tower="results/models/text-tower",
        guidance=guidance_of(systems.MAIN),
        triples=FIRST_TRIPLES,
        studies="results/tables/studies.parquet",
        registered=registered("forward"),
        generated=shards(f"results/generated/{systems.MAIN}", "generate"),
    output:
        trials="results/trials.parquet",
    log:
        "logs/generate/soundness.log",
    benchmark:
        "benchmarks/generate/soundness.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("generate")
    resources:
        **resources_of("generate"),
    params:
        settings=settings("generate soundness"),
        code=lambda wildcards: code("generate soundness"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
        system=systems.MAIN,
    shell:
        '{params.devices} biomedjourney --log {log:q} generate soundness --config "$BIOMEDJOURNEY_CONFIG"'
        " --system {params.system} {params.inputs} --out {output.trials:q} --threads {threads} 2>&1 | tee -a {log:q}"


rule export_model:
    """Export the model for edit and diffusers."""
    input:
        model=f"results/models/{MAIN_RUN}",
        first_stage="results/models/first-stage",
        text_tower="results/models/text-tower",
        guidance=guidance_of("biomedjourney"),
    output:
        model=directory(EXPORTED),
    log:
        "logs/generate/export.log",
    benchmark:
        "benchmarks/generate/export.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("generate")
    resources:
        **resources_of("generate", gpus=False),
    params:
        settings=settings("generate export", system="biomedjourney"),
        code=lambda wildcards: code("generate export"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} generate export --config "$BIOMEDJOURNEY_CONFIG"'
        " --system biomedjourney {params.inputs} --out {output.model:q} 2>&1 | tee -a {log:q}"
