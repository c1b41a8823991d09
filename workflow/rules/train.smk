rule train_stage:
    input:
        lambda wildcards: first_weights(wildcards.run),
        unpack(lambda wildcards: run_inputs(wildcards.run)),
    output:
        model=directory("results/models/{run}"),
        training="results/training/{run}.parquet",
    log:
        "logs/train/{run}.log",
    benchmark:
        "benchmarks/train/{run}.tsv"
    priority: 1
    conda:
        ENVIRONMENT
    threads: threads_of("train")
    resources:
        **resources_of("train"),
    params:
        settings=lambda wildcards: settings("train", run=wildcards.run),
        code=code("train"),
        checkpoints="results/checkpoints",
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        launcher=launcher,
    # A signal to the whole job ends neither the shell nor tee: the command saves a checkpoint first, and is heard out.
    shell:
        "trap : TERM USR1; "
        '{params.launcher} biomedjourney --log {log:q} train --config "$BIOMEDJOURNEY_CONFIG" --run {wildcards.run}'
        " {params.inputs} --checkpoints {params.checkpoints:q} --out {output.model:q} --training {output.training:q}"
        " --threads {threads} 2>&1 | (trap '' TERM USR1; exec tee -a {log:q})"
