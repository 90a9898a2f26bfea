# What a run is worth: all metrics of one run in one job, so that its data are read once.


rule score:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
        factors="results/runs/{dataset}/{method}/{seed}/factors.h5ad",
        run="results/runs/{dataset}/{method}/{seed}/run.json",
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
