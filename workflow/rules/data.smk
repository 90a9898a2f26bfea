# From addresses to prepared data: fetch, read, prepare, describe, check.


rule fetch:
    output:
        "resources/{group}/{file}",
    log:
        "results/logs/fetch/{group}/{file}.log",
    priority: 100
    conda:
        ENVIRONMENT
    params:
        sha256=lambda wildcards: settings.file_entry(config, wildcards.group, wildcards.file)["sha256"],
    script:
        "../scripts/fetch.py"


rule read:
    input:
        unpack(raw_files),
        code=lambda wildcards: code("readers/_*.py", f"readers/{dataset(wildcards)['reader']}.py"),
    output:
        "results/data/{dataset}/raw.h5ad",
    log:
        "results/logs/read/{dataset}.log",
    benchmark:
        "results/benchmarks/read/{dataset}.tsv"
    priority: 100
    conda:
        ENVIRONMENT
    params:
        reader=lambda wildcards: dataset(wildcards)["reader"],
        options=lambda wildcards: dataset(wildcards)["options"],
    script:
        "../scripts/read.py"


rule prepare:
    input:
        raw=raw_data,
        gene_sets=gene_set_files,
        orthologs=ortholog_file,
        code=code("prepare.py", "variable_genes.py", "genesets.py", "labels.py", "symbols.py"),
    output:
        "results/data/{dataset}/prepared.h5ad",
    log:
        "results/logs/prepare/{dataset}.log",
    benchmark:
        "results/benchmarks/prepare/{dataset}.tsv"
    priority: 100
    conda:
        ENVIRONMENT
    params:
        settings=preparation,
        columns=ortholog_columns,
    script:
        "../scripts/prepare.py"


rule describe:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
        code=code("describe.py", "labels.py"),
    output:
        "results/data/{dataset}/description.txt",
    log:
        "results/logs/describe/{dataset}.log",
    conda:
        ENVIRONMENT
    params:
        runs=runs_on,
    script:
        "../scripts/describe.py"


# Every method that is planned on a dataset says whether it can fit it. `snakemake ready` asks for all of them, so that
# whatever is wrong with any dataset is told before the first minute of training (the Makefile does so).
rule check:
    input:
        "results/data/{dataset}/prepared.h5ad",
    output:
        "results/data/{dataset}/checked.json",
    log:
        "results/logs/check/{dataset}.log",
    priority: 100
    conda:
        ENVIRONMENT
    script:
        "../scripts/check.py"
