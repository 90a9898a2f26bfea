# From sources to prepared data: fetch, read, prepare, describe, check.


rule fetch:
    output:
        "resources/{group}/{file}",
    log:
        "results/logs/fetch/{group}/{file}.log",
    priority: 100
    localrule: True
    conda:
        ENVIRONMENT
    params:
        sha256=expected_hash,
    script:
        "../scripts/fetch.py"


rule read:
    input:
        unpack(raw_files),
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
        code=lambda wildcards: code("read.py", f"factorbench/data/readers/{dataset(wildcards)['reader']}.py"),
    script:
        "../scripts/read.py"


rule prepare:
    input:
        raw=raw_data,
        gene_sets=gene_set_files,
        orthologs=ortholog_file,
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
        entry=lambda wildcards: plan.preparation(dataset(wildcards)),
        columns=ortholog_columns,
        code=lambda wildcards: code("prepare.py"),
    script:
        "../scripts/prepare.py"


rule describe:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
    output:
        "results/data/{dataset}/description.txt",
    log:
        "results/logs/describe/{dataset}.log",
    conda:
        ENVIRONMENT
    params:
        entry=dataset,
        runs=runs_on,
        code=lambda wildcards: code("describe.py"),
    script:
        "../scripts/describe.py"


# Ask every method that is planned on a dataset whether it can be fitted to it. No other rule reads the answer: a method
# that is added must not repeat the fits of the others. `make run` begins with `snakemake ready`, which asks for all
# datasets before the first training.
rule check:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
    output:
        "results/data/{dataset}/checked.json",
    log:
        "results/logs/check/{dataset}.log",
    priority: 100
    conda:
        ENVIRONMENT
    params:
        methods=methods_on,
        code=lambda wildcards: code("check.py", *map(method_file, methods_on(wildcards))),
    script:
        "../scripts/check.py"
