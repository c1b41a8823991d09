rule train_stage:
    input:
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
        threads=lambda wildcards, threads, resources: max(1, threads // max(1, gpus_of(resources))),
    shell:
        # TERM and USR1 reach every process of a job. Training saves a checkpoint and ends; until then the shell waits,
        # and tee keeps on writing what training says.
        "trap : TERM USR1; "
        '{params.launcher} biomedjourney --log {log:q} train --config "$BIOMEDJOURNEY_CONFIG" --run {wildcards.run}'
        " {params.inputs} --checkpoints {params.checkpoints:q} --out {output.model:q} --training {output.training:q}"
        " --threads {params.threads} 2>&1 | (trap '' TERM USR1; exec tee -a {log:q})"
