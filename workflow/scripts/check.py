"""Ask every method that is planned on a dataset whether it can be fitted to it, before any training."""

from factorbench.adapters import reporting
from factorbench.contracts.errors import UserError
from factorbench.contracts.files import write_json
from factorbench.contracts.prepared import read_prepared
from factorbench.runs.execute import check_can_fit

with reporting(snakemake):
    data = read_prepared(snakemake.input.prepared)
    for name, method in snakemake.params.methods.items():
        try:
            check_can_fit(method["use"], method["params"], data)
        except UserError as error:
            raise UserError(f"methods.{name} on datasets.{snakemake.wildcards.dataset}: {error}") from None
    write_json(snakemake.output[0], {"methods": list(snakemake.params.methods)})
