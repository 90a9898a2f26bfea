# factorbench: which interpretable model explains single-cell data in terms of known gene sets, and at what cost?
#
# config.yaml says what is run, a profile (profiles/) says how. workflow/presets/ has other configs, laid over config.yaml
# with --configfile. There is one rule per verb; datasets, methods and seeds are wildcards. The file can also be used as a
# Snakemake module: docs/module.md.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


# The config as it was given, for the manifest. The next line completes it.
given = config


include: "workflow/rules/common.smk"


report: "workflow/report/workflow.rst"


wildcard_constraints:
    dataset="[A-Za-z0-9][A-Za-z0-9_-]*",
    method="[A-Za-z0-9][A-Za-z0-9_-]*",
    group="[A-Za-z0-9][A-Za-z0-9_-]*",
    figure="[A-Za-z0-9][A-Za-z0-9_-]*",
    file="[A-Za-z0-9][A-Za-z0-9._-]*",
    seed="[0-9]+",


# Before the first job, ask every source whether it has the files that the planned runs need.
onstart:
    ask_for_files()


if workflow.is_main_process:
    note_replaced_files()


rule all:
    input:
        "results/report.html",
        "results/manifest.json",
        expand("results/data/{dataset}/checked.json", dataset=planned_datasets()),
    localrule: True


rule ready:
    input:
        expand("results/data/{dataset}/checked.json", dataset=planned_datasets()),
    localrule: True


rule check_dataset:
    input:
        expand("results/data/{dataset}/description.txt", dataset=config["describe"] or []),
    localrule: True


include: "workflow/rules/data.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/report.smk"
