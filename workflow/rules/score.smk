# What a run is worth: all metrics of one run in one job, so that its data are read once; then what only several runs can
# say: how far seeds agree, and which of two methods is better on the same cells.


rule score:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
        factors="results/runs/{dataset}/{method}/{seed}/factors.h5ad",
        run="results/runs/{dataset}/{method}/{seed}/run.json",
        seen=seen_by,
        code=metric_code,
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
    script:
        "../scripts/score.py"


rule score_seeds:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
        factors=lambda w: [
            f"results/runs/{w.dataset}/{m}/{seed}/factors.h5ad" for m, seed in runs_on(w) if m == w.method
        ],
        runs=lambda w: [f"results/runs/{w.dataset}/{m}/{seed}/run.json" for m, seed in runs_on(w) if m == w.method],
        code=metric_code,
    output:
        "results/scores/{dataset}/{method}/seeds.tsv",
    log:
        "results/logs/score/{dataset}/{method}/seeds.log",
    conda:
        ENVIRONMENT
    params:
        metrics=config["metrics"],
    script:
        "../scripts/score_seeds.py"


rule compare:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
        factors=lambda w: [f"results/runs/{w.dataset}/{m}/{seed}/factors.h5ad" for m, seed in runs_on(w)],
        code=code("compare.py", "tables.py", "metrics/_*.py"),
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
    script:
        "../scripts/compare.py"
