rule evaluate_guidance:
    """Choose guidance scales on validation patients."""
    input:
        sweeps=lambda wildcards: shards(f"results/sweeps/{wildcards.system}", "generate"),
        judges="results/models/judges",
        triples=FIRST_TRIPLES,
        studies="results/tables/studies.parquet",
        patients="results/tables/patients.parquet",
    output:
        guidance="results/guidance/{system}.parquet",
    log:
        "logs/evaluate/guidance/{system}.log",
    benchmark:
        "benchmarks/evaluate/guidance/{system}.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("evaluate")
    resources:
        **resources_of("evaluate"),
    params:
        settings=settings("evaluate guidance"),
        code=lambda wildcards: code("evaluate guidance"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} evaluate guidance --config "$BIOMEDJOURNEY_CONFIG"'
        " --system {wildcards.system} {params.inputs} --guidance {output.guidance:q}"
        " --threads {threads} 2>&1 | tee -a {log:q}"


rule evaluate_samplers:
    """Compare numbers of sampling steps on validation patients."""
    input:
        sampled=lambda wildcards: shards(f"results/sampled/{wildcards.system}", "generate"),
        judges="results/models/judges",
        triples=FIRST_TRIPLES,
        studies="results/tables/studies.parquet",
        patients="results/tables/patients.parquet",
    output:
        samplers="results/samplers/{system}.parquet",
    log:
        "logs/evaluate/samplers/{system}.log",
    benchmark:
        "benchmarks/evaluate/samplers/{system}.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("evaluate")
    resources:
        **resources_of("evaluate"),
    params:
        settings=settings("evaluate samplers"),
        code=lambda wildcards: code("evaluate samplers"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} evaluate samplers --config "$BIOMEDJOURNEY_CONFIG"'
        " --system {wildcards.system} {params.inputs} --samplers {output.samplers:q}"
        " --threads {threads} 2>&1 | tee -a {log:q}"


rule evaluate_real:
    """Score the real test films with the judges."""
    input:
        judges="results/models/judges",
        singles="results/tables/singles.parquet",
        triples=FIRST_TRIPLES,
        pixels=PIXELS,
    output:
        real="results/real.parquet",
    log:
        "logs/evaluate/real.log",
    benchmark:
        "benchmarks/evaluate/real.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("evaluate")
    resources:
        **resources_of("evaluate"),
    params:
        settings=settings("evaluate real"),
        code=lambda wildcards: code("evaluate real"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} evaluate real --config "$BIOMEDJOURNEY_CONFIG" {params.inputs}'
        " --real {output.real:q} --threads {threads} 2>&1 | tee -a {log:q}"


rule evaluate_scores:
    """Score the pictures of one system with the judges."""
    input:
        generated=lambda wildcards: shards(f"results/generated/{wildcards.system}", "generate"),
        judges="results/models/judges",
        triples=FIRST_TRIPLES,
        registered=registered("forward"),
        pixels=PIXELS,
        real="results/real.parquet",
        segmenter=SEGMENTER,
    output:
        scores="results/scores/{system}.parquet",
    log:
        "logs/evaluate/scores/{system}.log",
    benchmark:
        "benchmarks/evaluate/scores/{system}.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("evaluate")
    resources:
        **resources_of("evaluate"),
    params:
        settings=settings("evaluate scores"),
        code=lambda wildcards: code("evaluate scores"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
    shell:
        '{params.devices} biomedjourney --log {log:q} evaluate scores --config "$BIOMEDJOURNEY_CONFIG"'
        " --system {wildcards.system} {params.inputs} --scores {output.scores:q}"
        " --threads {threads} 2>&1 | tee -a {log:q}"


rule evaluate_soundness:
    """Judge the edits whose result is known."""
    input:
        judges="results/models/judges",
        triples=FIRST_TRIPLES,
        trials="results/trials.parquet",
        registered=registered("forward"),
        pixels=PIXELS,
    output:
        soundness="results/tables/soundness.parquet",
    log:
        "logs/evaluate/soundness.log",
    benchmark:
        "benchmarks/evaluate/soundness.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("evaluate")
    resources:
        **resources_of("evaluate"),
    params:
        settings=settings("evaluate soundness"),
        code=lambda wildcards: code("evaluate soundness"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        devices=devices,
        system=systems.MAIN,
    shell:
        '{params.devices} biomedjourney --log {log:q} evaluate soundness --config "$BIOMEDJOURNEY_CONFIG"'
        " --system {params.system} {params.inputs} --soundness {output.soundness:q}"
        " --threads {threads} 2>&1 | tee -a {log:q}"


if SECOND_JUDGES:

    rule evaluate_second_scores:
        """Score the same pictures with the second judges."""
        input:
            generated=lambda wildcards: shards(f"results/generated/{wildcards.system}", "generate"),
            judges="results/models/second-judges",
            triples=FIRST_TRIPLES,
        output:
            scores="results/second-scores/{system}.parquet",
        log:
            "logs/evaluate/second-scores/{system}.log",
        benchmark:
            "benchmarks/evaluate/second-scores/{system}.tsv"
        conda:
            ENVIRONMENT
        threads: threads_of("evaluate")
        resources:
            **resources_of("evaluate"),
        params:
            settings=settings("evaluate second-scores"),
            code=lambda wildcards: code("evaluate second-scores"),
            inputs=lambda wildcards, input: input_flags(dict(input.items())),
            devices=devices,
        shell:
            '{params.devices} biomedjourney --log {log:q} evaluate second-scores --config "$BIOMEDJOURNEY_CONFIG"'
            " --system {wildcards.system} {params.inputs} --scores {output.scores:q}"
            " --threads {threads} 2>&1 | tee -a {log:q}"

    rule evaluate_judges:
        """Compare the order of the systems by both sets of judges."""
        input:
            systems="results/tables/systems.parquet",
            scores=expand("results/second-scores/{system}.parquet", system=SYSTEMS),
            triples=FIRST_TRIPLES,
            studies="results/tables/studies.parquet",
            patients="results/tables/patients.parquet",
            truth=[] if config["phantom"] is None else "results/tables/truth.parquet",
        output:
            judges="results/tables/judges.parquet",
        log:
            "logs/evaluate/judges.log",
        benchmark:
            "benchmarks/evaluate/judges.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            **resources_of("evaluate", gpus=False),
        params:
            settings=settings("evaluate judges"),
            code=lambda wildcards: code("evaluate judges", "judges"),
            inputs=lambda wildcards, input: input_flags(dict(input.items())),
        shell:
            'biomedjourney --log {log:q} evaluate judges --config "$BIOMEDJOURNEY_CONFIG" {params.inputs}'
            " --judges {output.judges:q} 2>&1 | tee -a {log:q}"


rule evaluate_systems:
    """Make the measures with their intervals."""
    input:
        scores=expand("results/scores/{system}.parquet", system=SYSTEMS),
        triples=FIRST_TRIPLES,
        studies="results/tables/studies.parquet",
        patients="results/tables/patients.parquet",
        images="results/tables/images.parquet",
        real="results/real.parquet",
        truth=[] if config["phantom"] is None else "results/tables/truth.parquet",
    output:
        scores="results/tables/scores.parquet",
        systems="results/tables/systems.parquet",
        ablations="results/tables/ablations.parquet",
        findings="results/tables/findings.parquet",
        subgroups="results/tables/subgroups.parquet",
        beyond="results/tables/beyond.parquet",
    log:
        "logs/evaluate/systems.log",
    benchmark:
        "benchmarks/evaluate/systems.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **resources_of("evaluate", gpus=False),
    params:
        settings=settings("evaluate systems"),
        code=lambda wildcards: code("evaluate systems", "findings"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
    shell:
        'biomedjourney --log {log:q} evaluate systems --config "$BIOMEDJOURNEY_CONFIG" {params.inputs}'
        " --all-scores {output.scores:q} --systems {output.systems:q} --ablations {output.ablations:q}"
        " --findings {output.findings:q} --subgroups {output.subgroups:q}"
        " --beyond {output.beyond:q} 2>&1 | tee -a {log:q}"
