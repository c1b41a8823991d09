rule write_report:
    """Write the report."""
    input:
        **REPORTED,
        soundness=SOUNDNESS,
        pixels=PIXELS,
        registered=registered("forward"),
        generated=shards("results/generated/biomedjourney", "generate"),
    output:
        page="results/report/index.html",
        table=report("results/report/main-table.txt", caption="../report/main-table.rst"),
        grid=report("results/report/grid.png", caption="../report/grid.rst"),
        curves=report("results/report/curves.png", caption="../report/curves.rst"),
    log:
        "logs/report.log",
    benchmark:
        "benchmarks/report.tsv"
    conda:
        ENVIRONMENT
    threads: threads_of("report")
    resources:
        **resources_of("report"),
    params:
        settings=settings("report"),
        code=lambda wildcards: code("report", "findings", "judges"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        out=lambda wildcards, output: os.path.dirname(output.page),
    shell:
        'biomedjourney --log {log:q} report --config "$BIOMEDJOURNEY_CONFIG" {params.inputs}'
        " --benchmarks benchmarks --out {params.out:q} 2>&1 | tee -a {log:q}"
