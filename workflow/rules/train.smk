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
    wildcard_constraints:
        run="|".join(RUNS),
    priority: 1
    conda:
        ENVIRONMENT
    threads: threads_of("train")
    resources:
        **resources_of("train"),
    params:
        config=lambda wildcards: settings("train", {"train.runs": [wildcards.run]}),
        code=code("train"),
        checkpoints="results/checkpoints",
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
    shell:
        "biomedjourney train --config {params.config:q} --run {wildcards.run} {params.inputs}"
        " --checkpoints {params.checkpoints} --out {output.model} --training {output.training}"
        " --threads {threads} 2>&1 | tee {log}"


rule gather_training:
    input:
        parts=expand("results/training/{run}.parquet", run=RUNS),
    output:
        training="results/tables/training.parquet",
    log:
        "logs/train/gather.log",
    benchmark:
        "benchmarks/train/gather.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    shell:
        "biomedjourney gather training {input.parts} --out {output.training} 2>&1 | tee {log}"
