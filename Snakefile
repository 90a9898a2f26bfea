# factorbench: which interpretable model explains single-cell data in terms of known gene sets, and at what cost?
#
# config.yaml says what is run; a profile (profiles/) says how. workflow/presets/ has other WHATs, laid over config.yaml
# with --configfile. The rules are one a verb; datasets, methods and seeds are wildcards.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


# As its files and the command line say it; what is included next fills in the defaults.
given = dict(config)


include: "workflow/rules/common.smk"


# A killed Snakemake leaves its lock behind; one that is still at work does not.
if workflow.is_main_process:
    from factorbench import locks

    told = locks.enter(Path(".snakemake"))
    if told:
        print(f"note: {told}", file=sys.stderr)


report: "workflow/report/workflow.rst"


wildcard_constraints:
    dataset="[A-Za-z0-9][A-Za-z0-9_-]*",
    method="[A-Za-z0-9][A-Za-z0-9_-]*",
    group="[A-Za-z0-9][A-Za-z0-9_-]*",
    figure="[A-Za-z0-9][A-Za-z0-9_-]*",
    file="[A-Za-z0-9][A-Za-z0-9._-]*",
    seed="[0-9]+",


localrules:
    all,
    check_dataset,
    fetch,
    manifest,
    ready,


# Before the first job, every place is asked whether it has what the planned runs need.
onstart:
    ask_for_files()


rule all:
    default_target: True
    input:
        "results/report.html",
        "results/manifest.json",


rule ready:
    input:
        expand("results/data/{dataset}/checked.json", dataset=planned_datasets()),


rule check_dataset:
    input:
        expand("results/data/{dataset}/description.txt", dataset=config["check"] or []),


include: "workflow/rules/data.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/report.smk"
