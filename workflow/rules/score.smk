# How good a run is. All metrics of one run are one job, so that its data are read once. Then what needs several runs: how
# far seeds agree, and which of two methods is better on the same cells.

METRIC_FILES = [f"factorbench/metrics/{name}.py" for name in config["metrics"]]


rule score:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
        factors="results/runs/{dataset}/{method}/{seed}/factors.h5ad",
        run="results/runs/{dataset}/{method}/{seed}/run.json",
        seen=run_that_saw,
    output:
        "results/scores/{dataset}/{method}/{seed}.tsv",
    log:
        "results/logs/score/{dataset}/{method}/{seed}.log",
    benchmark:
        "results/benchmarks/score/{dataset}/{method}/{seed}.tsv"
    conda:
        ENVIRONMENT
    params:
        metrics=config["metrics"],
        code=lambda wildcards: code("score.py", *METRIC_FILES),
    script:
        "../scripts/score.py"


rule score_seeds:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
        factors=seeds_of("results/runs/{dataset}/{method}/{seed}/factors.h5ad"),
        runs=seeds_of("results/runs/{dataset}/{method}/{seed}/run.json"),
    output:
        "results/scores/{dataset}/{method}/seeds.tsv",
    log:
        "results/logs/score/{dataset}/{method}/seeds.log",
    conda:
        ENVIRONMENT
    params:
        metrics=config["metrics"],
        code=lambda wildcards: code("score_seeds.py", *METRIC_FILES),
    script:
        "../scripts/score_seeds.py"


# The null of gene sets: the same method on permuted sets, as often as the config says. It is no timing, so it may run
# beside a fit that leaves a core free. It is the longest of such jobs, and comes first.
rule null:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
        factors=seeds_of("results/runs/{dataset}/{method}/{seed}/factors.h5ad"),
        runs=seeds_of("results/runs/{dataset}/{method}/{seed}/run.json"),
    output:
        "results/nulls/{dataset}/{method}.tsv",
    log:
        "results/logs/null/{dataset}/{method}.log",
    benchmark:
        "results/benchmarks/null/{dataset}/{method}.tsv"
    priority: 15
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        use=lambda wildcards: method(wildcards)["use"],
        params=lambda wildcards: plan.params_of(config, wildcards.dataset, wildcards.method),
        null=lambda wildcards: NULLS[wildcards.dataset, wildcards.method],
        code=lambda wildcards: code("null.py", method_file(wildcards.method)),
    script:
        "../scripts/null.py"


rule compare:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
        factors=lambda w: [f"results/runs/{w.dataset}/{m}/{seed}/factors.h5ad" for m, seed in runs_on(w)],
    output:
        "results/comparisons/{dataset}.tsv",
    log:
        "results/logs/compare/{dataset}.log",
    benchmark:
        "results/benchmarks/compare/{dataset}.tsv"
    conda:
        ENVIRONMENT
    params:
        runs=runs_on,
        reference=config["report"]["reference"],
        code=lambda wildcards: code("compare.py"),
    script:
        "../scripts/compare.py"
