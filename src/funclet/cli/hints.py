"""What to do about an error code (`HINTS`), and what its row in the error table does not say (`REMARKS`).

One line each. A hint stands below the error; `fgs explain` and docs/reference/errors.md show both.
"""

from collections.abc import Mapping

HINTS: Mapping[str, str] = {
    "FSS.0429": "Try again later, or raise the limits: fgs function config set NAME --max-instances N",
    "APIG.0101": "fgs speaks to the API, not to the gateway; see which address it has: fgs configure list",
    "FSS.1005": "fgs doctor shows the runtimes of this machine. A function keeps the one that it was created with.",
    "FSS.1011": "Make it with: zip -r code.zip . (inside of the folder), or name the folder itself",
    "FSS.1016": "Change the code or the settings first; latest is already published.",
    "FSS.1051": "fgs function list",
    "FSS.0404": "See what is there: fgs function list, fgs connection list, fgs async dead-letters, fgs iam user list",
    "FSS.1052": "fgs version list NAME",
    "FSS.1053": "fgs alias list NAME",
    "FSS.1056": "fgs dependency list",
    "FSS.1059": "fgs app template list",
    "FSS.1061": "Choose another name, or change it: fgs function code update NAME PATH",
    "FSS.1062": "Choose another name: fgs version list NAME",
    "FSS.1063": "Change it instead: fgs alias update NAME ALIAS --version V",
    "FSS.1066": "fgs alias list NAME",
    "FSS.1094": "Take the version out of the alias first: fgs alias list NAME",
    "FSS.1154": "Delete its triggers first: fgs trigger list 'NAME:!ALIAS'",
    "FSS.1131": "fgs trigger list NAME",
    "FSS.1146": "Choose another --name, or look who has it: fgs trigger list NAME",
    "FSS.1148": "fgs trigger list NAME",
    "FSS.1147": "Choose another --path, or look who has it: fgs trigger list NAME",
}
REMARKS: Mapping[str, str] = {
    "FSS.0403": "Also sent when a function has as many versions as it may have.",
    "FSS.4002": "A handler that raised answers HTTP 200 with the error as JSON and the header X-Func-Err-Code: 4002; "
    "the status is 500 if the server runs with --handler-error-status 500.",
}
