rule write_report:
    input:
        **REPORTED,
        pixels=shards("results/pixels/{shard}.parquet", "preprocess"),
        registered=shards("results/registered/{shard}.parquet", "register"),
        generated=expand("results/generated/{system}.parquet", system=SYSTEMS),
    output:
        page="results/report/index.html",
        table=report("results/report/main-table.txt", caption="../report/main-table.rst"),
        grid="results/report/grid.png",
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
        config=settings("report"),
        code=code("report"),
        inputs=lambda wildcards, input: input_flags(dict(input.items())),
        out=lambda wildcards, output: os.path.dirname(output.page),
    shell:
        "biomedjourney report --config {params.config:q} {params.inputs} --out {params.out} 2>&1 | tee {log}"
