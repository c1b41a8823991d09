rule train_stage:
    """Train the diffusion model."""
    input:
        lambda wildcards: first_weights(TRAININGS[wildcards.training][0]),
        unpack(lambda wildcards: run_inputs(wildcards.training)),
    output:
        model=directory("results/models/{training}"),
        training="results/training/{training}.parquet",
    log:
        "logs/train/{training}.log",
    benchmark:
        "benchmarks/train/{training}.tsv"
    priority: 1
    conda:
        ENVIRONMENT
    threads: threads_of("train")
    resources:
        **resources_of("train"),
    params:
        settings=lambda wildcards: settings("train", run=TRAININGS[wildcards.training][0]),
        code=lambda wildcards: code("train"),
        run=lambda wildcards: TRAININGS[wildcards.training][0],
        seed=lambda wildcards: TRAININGS[wildcards.training][1],
        checkpoints="results/checkpoints",
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        launcher=launcher,
    # A signal to the whole job ends neither the shell nor tee: the command saves a checkpoint first, and is heard out.
    shell:
        "trap : TERM USR1; "
        '{params.launcher} biomedjourney --log {log:q} train --config "$BIOMEDJOURNEY_CONFIG" --run {params.run}'
        " --training-seed {params.seed} {params.inputs} --checkpoints {params.checkpoints:q}"
        " --out {output.model:q} --training {output.training:q} --threads {threads} 2>&1 | (trap '' TERM USR1; exec tee -a {log:q})"
