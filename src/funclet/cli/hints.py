"""What to do about an error code: one line each, shown below the error and by `fgs explain`."""

from collections.abc import Mapping

HINTS: Mapping[str, str] = {
    "FSS.0429": "Try again later, or raise the limits: fgs function config set NAME --max-instances N",
    "FSS.1005": "The runtime of a function is fixed; remove the function, or give the new one another name.",
    "FSS.1016": "Change the code or the settings first; latest is already published.",
    "FSS.1051": "fgs function list",
    "FSS.0404": "fgs function list",
    "FSS.1052": "fgs version list NAME",
    "FSS.1053": "fgs alias list NAME",
    "FSS.1062": "Choose another name: fgs version list NAME",
    "FSS.1063": "Change it instead: fgs alias update NAME ALIAS --version V",
    "FSS.1066": "fgs alias list NAME",
    "FSS.1094": "Take the version out of the alias first: fgs alias list NAME",
    "FSS.1154": "Delete its triggers first: fgs trigger list 'NAME:!ALIAS'",
    "FSS.1148": "fgs trigger list NAME",
    "FSS.1147": "Choose another --path, or look who has it: fgs trigger list NAME",
}
