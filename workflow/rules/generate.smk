rule generate_sweep:
    input:
        unpack(lambda wildcards: system_inputs(wildcards.system, test=False)),
    output:
        pictures="results/generated/validation/{system}.parquet",
    log:
        "logs/generate/validation/{system}.log",
    benchmark:
        "benchmarks/generate/validation/{system}.tsv"
    wildcard_constraints:
        system="|".join(SWEEP["systems"]),
    conda:
        ENVIRONMENT
    threads: threads_of("generate")
    resources:
        **resources_of("generate"),
    params:
        config=lambda wildcards: settings("generate", {"systems": [wildcards.system]}),
        code=code("generate"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
    shell:
        "biomedjourney generate sweep --config {params.config:q} --system {wildcards.system} {params.inputs}"
        " --out {output.pictures} --threads {threads} 2>&1 | tee {log}"


rule generate_pictures:
    input:
        unpack(lambda wildcards: system_inputs(wildcards.system, test=True)),
    output:
        pictures="results/generated/{system}.parquet",
    log:
        "logs/generate/{system}.log",
    benchmark:
        "benchmarks/generate/{system}.tsv"
    wildcard_constraints:
        system="|".join(SYSTEMS),
    conda:
        ENVIRONMENT
    threads: threads_of("generate")
    resources:
        **resources_of("generate"),
    params:
        config=lambda wildcards: settings("generate", {"systems": [wildcards.system]}),
        code=code("generate"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
    shell:
        "biomedjourney generate pictures --config {params.config:q} --system {wildcards.system} {params.inputs}"
        " --out {output.pictures} --threads {threads} 2>&1 | tee {log}"


rule export_model:
    input:
        model=f"results/models/{SYSTEMS['biomedjourney']['run']}",
        first_stage="results/models/first-stage",
        text_tower="results/models/text-tower",
        guidance="results/tables/guidance.parquet",
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
        **resources_of("generate"),
    params:
        config=settings("generate", {"systems": ["biomedjourney"]}),
        code=code("generate"),
    shell:
        "biomedjourney generate export --config {params.config:q} --system biomedjourney --model {input.model}"
        " --first-stage {input.first_stage} --text-tower {input.text_tower} --guidance {input.guidance}"
        " --out {output.model} 2>&1 | tee {log}"
