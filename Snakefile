from snakemake.utils import min_version

min_version("9.0")


configfile: os.path.join(workflow.basedir, "config.yaml")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/phantom.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/pair.smk"
include: "workflow/rules/rewrite.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/register.smk"
include: "workflow/rules/gather.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


# Before the first job of every run, on the machine where Snakemake was started. A rule that all others wait for would
# make all of them run again whenever it does.
onstart:
    check_weights()
    tell_each_job_in_a_line()


onsuccess:
    show_results()


onerror:
    show_failures()


localrules:
    all,
    gather_triples,
    gather_cohort,
    gather_parts,


rule all:
    """All that the configuration asks for."""
    default_target: True
    input:
        "results/report/index.html",
        expand("results/tables/{table}.parquet", table=[*PARTS, "cohort"]),
        EXPORTED,
