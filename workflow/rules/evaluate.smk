rule evaluate_guidance:
    input:
        generated=expand("results/generated/validation/{system}.parquet", system=SWEEP["systems"]),
        judges="results/models/judges",
        pairs="results/tables/pairs.parquet",
        studies="results/tables/studies.parquet",
        patients="results/tables/patients.parquet",
    output:
        guidance="results/tables/guidance.parquet",
    log:
        "logs/evaluate/guidance.log",
    benchmark:
        "benchmarks/evaluate/guidance.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("evaluate")
    resources:
        **resources_of("evaluate"),
    params:
        config=settings("evaluate guidance", {"systems": SWEEP["systems"]}),
        code=code("evaluate"),
        generated=lambda wildcards, input: flags("generated", input.generated),
    shell:
        "biomedjourney evaluate guidance --config {params.config:q} {params.generated} --judges {input.judges}"
        " --pairs {input.pairs} --studies {input.studies} --patients {input.patients}"
        " --guidance {output.guidance} --threads {threads} 2>&1 | tee {log}"


rule evaluate_systems:
    input:
        generated=expand("results/generated/{system}.parquet", system=SYSTEMS),
        judges="results/models/judges",
        pairs="results/tables/pairs.parquet",
        studies="results/tables/studies.parquet",
        patients="results/tables/patients.parquet",
        truth=[] if config["phantom"] is None else "results/tables/truth.parquet",
    output:
        scores="results/tables/scores.parquet",
        systems="results/tables/systems.parquet",
        ablations="results/tables/ablations.parquet",
        findings="results/tables/findings.parquet",
        subgroups="results/tables/subgroups.parquet",
    log:
        "logs/evaluate/systems.log",
    benchmark:
        "benchmarks/evaluate/systems.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("evaluate")
    resources:
        **resources_of("evaluate"),
    params:
        config=settings("evaluate systems"),
        code=code("evaluate"),
        generated=lambda wildcards, input: flags("generated", input.generated),
        truth=lambda wildcards, input: f"--truth {input.truth}" if input.truth else "",
    shell:
        "biomedjourney evaluate systems --config {params.config:q} {params.generated} --judges {input.judges}"
        " --pairs {input.pairs} --studies {input.studies} --patients {input.patients} {params.truth}"
        " --scores {output.scores} --systems {output.systems} --ablations {output.ablations}"
        " --findings {output.findings} --subgroups {output.subgroups} --threads {threads} 2>&1 | tee {log}"
