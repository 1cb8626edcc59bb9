"""The result of an analysis for reading on a terminal."""

from typing import Any

REFERENCES = {"host": "the host's center of mass", "total": "the center of mass", "none": "nothing"}


def show_run(found: dict[str, Any]) -> str:
    """One trajectory."""
    frame = REFERENCES[found["reference"]]
    lines = [f"{found['trajectory']}: {found['frames']} frames, {found['length_ps']:g} ps, relative to {frame}", ""]
    for symbol, row in found["species"].items():
        first, last = (f"{t / 1e3:g}" for t in row["window_fs"])
        lines += [
            f"{symbol} ({row['ions']} ions, {_hops(row)}, {100 * row['moved_share']:.0f} % of them hopped)",
            f"  D               {with_interval(row['diffusion'])}",
            f"  along x, y, z   {_axes(row)} cm^2/s",
            f"  error from      {row['diffusion']['method']}",
            f"                  ({_all_errors(row['errors_cm2_per_s'])} cm^2/s)",
            f"  window          {first} to {last} ps: {row['window_reason']}",
            f"  run length      {show_forecast(row['forecast'])}",
            *_velocities(row),
            *(f"  warning         {w}" for w in row["warnings"]),
            "",
        ]
    if "conductivity" in found:
        charges = ", ".join(f"{s} {q:+g}" for s, q in found["charges_e"].items())
        lines += [
            f"charge at {found['temperature_K']:g} K ({charges})",
            f"  conductivity    {with_interval(found['conductivity'])}",
            f"  if independent  {found['nernst_einstein']['value']:.4g} mS/cm",
            f"  Haven ratio     {with_interval(found['haven_ratio'])}",
            f"  window          {_ps(found['charge_window_fs'])} ps: {found['charge_window_reason']}",
            f"  run length      {show_forecast(found['charge_forecast'])}",
            *(f"  warning         {w}" for w in found["charge_warnings"]),
            "",
        ]
    return "\n".join([*lines, *(f"warning: {w}" for w in found["warnings"])]).rstrip()


def show_laws(laws: dict[str, Any]) -> str:
    """Temperature dependence."""
    lines = []
    for law in laws.values():
        energy = law["energy"]
        lines += [f"{law['title']}", f"  activation      {with_interval(energy)}"]
        for row in law["at"]:
            low, high = (f"{end:.4g}" for end in row["interval_95"])
            lines.append(
                f"  at {row['temperature_K']:g} K        {row['value']:.4g} {row['unit']}   95 %: {low} to {high} "
                "(if the law holds so far)"
            )
        if law.get("vtf"):
            lines.append(f"  or VTF          {law['vtf']['verdict']} (evidence {law['vtf']['evidence']:+.1f})")
        lines += [*(f"  warning         {w}" for w in law["warnings"]), ""]
    return "\n".join(lines).rstrip()


def with_interval(row: dict[str, Any]) -> str:
    """Value, error, unit and 95 % interval."""
    if row["value"] is None:
        return "cannot be told: a value behind it is not above zero"
    low, high = ("no bound" if end is None else f"{end:.4g}" for end in row["interval_95"])
    unit = "" if row["unit"] == "1" else f" {row['unit']}"
    return f"{row['value']:.4g} ± {row['standard_error']:.2g}{unit}   95 %: {low} to {high}"


def show_forecast(row: dict[str, Any]) -> str:
    """How much longer to run, in words."""
    target, so_far = f"{100 * row['target']:g} %", f"{row['so_far_fs'] / 1e3:.4g} ps"
    if row["total_fs"] is None:
        return f"{so_far}; how long for an error of {target} cannot be told: nothing is above zero yet"
    if row["total_fs"] <= row["so_far_fs"]:
        return f"{so_far}, enough for an error of {target}"
    between = ""
    if row["low_fs"] != row["high_fs"]:
        between = f" ({row['low_fs'] / 1e3:.3g} to {row['high_fs'] / 1e3:.3g})"
    return f"{so_far}; an error of {target} needs about {row['total_fs'] / 1e3:.3g} ps in all{between}"


def _ps(window_fs: list[float]) -> str:
    return " to ".join(f"{t / 1e3:g}" for t in window_fs)


def _hops(row: dict[str, Any]) -> str:
    return f"{'at least ' if row['hops_at_least'] else ''}{row['hops']} hops of {row['hop_length_A']:g} Å"


def _axes(row: dict[str, Any]) -> str:
    values, errors = row["tensor_cm2_per_s"], row["tensor_errors_cm2_per_s"]
    return ", ".join(f"{values[a][a]:.3g} ± {errors[a][a]:.1g}" for a in range(len(values)))


def _velocities(row: dict[str, Any]) -> list[str]:
    if "green_kubo" not in row:
        return []
    found = row["green_kubo"]
    coefficient = found["coefficient"]
    state = "" if found["is_converged"] else ", not at rest: the run is too short for it"
    return [
        f"  from velocities {coefficient['value']:.4g} ± {coefficient['standard_error']:.2g} cm^2/s "
        f"({found['differs_by_standard_errors']:+.1f} standard errors from the above{state})"
    ]


def _all_errors(errors: dict[str, float | None]) -> str:
    names = {"covariance": "of independent walks", "particles": "by ions", "time": "by time", "both": "by both"}
    return ", ".join(f"{names[name]} {value:.2g}" for name, value in errors.items() if value is not None)
