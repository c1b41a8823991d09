rule gather_triples:
    """Join prior image, description and new image of every pair."""
    input:
        pairs="results/tables/pairs.parquet",
        pixels=PIXELS,
        registrations=lambda wildcards: registrations(wildcards.direction),
        progressions="results/progressions/{writer}/{direction}.parquet",
        first_progressions=f"results/progressions/{WRITERS[0]}/forward.parquet",
    output:
        triples="results/triples/{writer}/{direction}.parquet",
    log:
        "logs/gather/triples/{writer}/{direction}.log",
    benchmark:
        "benchmarks/gather/triples/{writer}/{direction}.tsv"
    priority: 3
    conda:
        ENVIRONMENT
    threads: 1
    params:
        code=lambda wildcards: code("gather triples"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
    shell:
        "biomedjourney --log {log:q} gather triples --writer {wildcards.writer}"
        " --direction {wildcards.direction} {params.inputs} --out {output.triples:q} 2>&1 | tee -a {log:q}"


rule gather_cohort:
    """Count what each step kept and dropped."""
    input:
        pair_cohort="results/pair/cohort.parquet",
        pair_exclusions="results/pair/exclusions.parquet",
        singles="results/tables/singles.parquet",
        pixels=PIXELS,
        triples=PARTS["triples"],
    output:
        cohort="results/tables/cohort.parquet",
        exclusions="results/tables/exclusions.parquet",
    log:
        "logs/gather/cohort.log",
    benchmark:
        "benchmarks/gather/cohort.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    params:
        code=lambda wildcards: code("gather cohort"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
    shell:
        "biomedjourney --log {log:q} gather cohort {params.inputs} --cohort {output.cohort:q}"
        " --exclusions {output.exclusions:q} 2>&1 | tee -a {log:q}"


rule gather_parts:
    """Make one table of its parts."""
    input:
        parts=lambda wildcards: PARTS[wildcards.table],
    output:
        table="results/tables/{table}.parquet",
    log:
        "logs/gather/{table}.log",
    benchmark:
        "benchmarks/gather/{table}.tsv"
    wildcard_constraints:
        table="|".join(PARTS),
    conda:
        ENVIRONMENT
    threads: 1
    params:
        code=lambda wildcards: code("gather parts", wildcards.table),
    shell:
        "biomedjourney --log {log:q} gather parts {wildcards.table} {input.parts:q} --out {output.table:q}"
        " 2>&1 | tee -a {log:q}"
