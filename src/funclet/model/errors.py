"""The error table: one row per code that the API can answer with.

A row gives the HTTP status. The message of each error is written where it is
raised, because it names the thing that is wrong; `meaning` is what `fgs explain`
prints.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One code of the API."""

    code: str
    status: int
    meaning: str


_ROWS = (
    ErrorRow("APIG.0101", 404, "No API answers under this path"),
    ErrorRow("APIG.0201", 400, "The gateway could not pass the request on"),
    ErrorRow("APIG.0301", 401, "The credentials of the request are missing, wrong or expired"),
    ErrorRow("APIG.0302", 403, "The caller may not use this API"),
    ErrorRow("APIG.0303", 401, "The credentials of the app are missing, wrong or unknown"),
    ErrorRow("APIG.0304", 403, "The app has no grant for this API"),
    ErrorRow("APIG.0305", 401, "The custom authorizer does not let the request pass (500: it cannot be asked)"),
    ErrorRow("FSS.0400", 400, "A parameter of the request is invalid"),
    ErrorRow("FSS.0401", 401, "The caller is not authenticated"),
    ErrorRow("FSS.0403", 403, "The caller may not do this"),
    ErrorRow("FSS.0404", 404, "The resource does not exist"),
    ErrorRow("FSS.0405", 405, "The path exists, but not with this method"),
    ErrorRow("FSS.0406", 406, "The format of the request cannot be used"),
    ErrorRow("FSS.0409", 409, "The resource exists already"),
    ErrorRow("FSS.0413", 413, "The body of the request is too large"),
    ErrorRow("FSS.0424", 424, "A dependency does not fit the function"),
    ErrorRow("FSS.0426", 426, "The operation needs something that this server does not offer"),
    ErrorRow("FSS.0429", 429, "Too many requests, or the function is disabled"),
    ErrorRow("FSS.0500", 500, "The platform failed"),
    ErrorRow("FSS.0501", 501, "The operation is known but not built yet"),
    ErrorRow("FSS.0503", 503, "The service cannot take the request now"),
    ErrorRow("FSS.1001", 400, "A query parameter is invalid"),
    ErrorRow("FSS.1002", 400, "The function name is invalid"),
    ErrorRow("FSS.1003", 400, "The handler is invalid"),
    ErrorRow("FSS.1004", 400, "The package (application) name is invalid"),
    ErrorRow("FSS.1005", 400, "The runtime is invalid or cannot be changed"),
    ErrorRow("FSS.1006", 400, "The code type is invalid"),
    ErrorRow("FSS.1007", 400, "The memory size is invalid"),
    ErrorRow("FSS.1008", 400, "The timeout is invalid"),
    ErrorRow("FSS.1009", 400, "The environment variables are invalid"),
    ErrorRow("FSS.1010", 400, "The code URL is invalid"),
    ErrorRow("FSS.1011", 400, "The code is not valid base64 or not a valid archive"),
    ErrorRow("FSS.1012", 400, "The code is missing"),
    ErrorRow("FSS.1013", 400, "The type of the code file is invalid"),
    ErrorRow("FSS.1014", 400, "The alias name is invalid"),
    ErrorRow("FSS.1015", 400, "The version is invalid or cannot be changed"),
    ErrorRow("FSS.1016", 400, "Nothing has changed since the last publication"),
    ErrorRow("FSS.1017", 400, "There are too many environment variables"),
    ErrorRow("FSS.1018", 400, "The environment variables are too large"),
    ErrorRow("FSS.1019", 400, "The description is too long"),
    ErrorRow("FSS.1022", 400, "The archive has more than one YAML file"),
    ErrorRow("FSS.1023", 400, "The file to import is too large"),
    ErrorRow("FSS.1024", 400, "The dependency is invalid"),
    ErrorRow("FSS.1025", 400, "The YAML file is missing or invalid"),
    ErrorRow("FSS.1026", 400, "The concurrency setting is invalid"),
    ErrorRow("FSS.1032", 400, "The source of a dependency must be zip or obs"),
    ErrorRow("FSS.1033", 412, "The dependency is in use"),
    ErrorRow("FSS.1036", 400, "The VPC does not exist"),
    ErrorRow("FSS.1037", 400, "The subnet does not exist"),
    ErrorRow("FSS.1038", 400, "The file system is mounted twice"),
    ErrorRow("FSS.1039", 400, "The mount path is invalid"),
    ErrorRow("FSS.1040", 403, "The mount needs an agency that allows it"),
    ErrorRow("FSS.1041", 403, "The quota of functions is used up"),
    ErrorRow("FSS.1042", 403, "The quota of code size is used up"),
    ErrorRow("FSS.1043", 403, "The function has as many aliases as it may have"),
    ErrorRow("FSS.1044", 403, "The project has as many packages as it may have"),
    ErrorRow("FSS.1045", 403, "The project has as many dependencies as it may have"),
    ErrorRow("FSS.1046", 403, "The dependency belongs to another project"),
    ErrorRow("FSS.1048", 403, "The functions of the project are in as many subnets as they may be"),
    ErrorRow("FSS.1049", 403, "The function has more than five mounts"),
    ErrorRow("FSS.1050", 404, "There is no such file system to mount"),
    ErrorRow("FSS.1051", 404, "The function does not exist"),
    ErrorRow("FSS.1052", 404, "The version does not exist"),
    ErrorRow("FSS.1053", 404, "The alias does not exist"),
    ErrorRow("FSS.1054", 404, "The code package does not exist in the object store"),
    ErrorRow("FSS.1056", 404, "The dependency does not exist"),
    ErrorRow("FSS.1057", 404, "The function is not in the YAML file"),
    ErrorRow("FSS.1058", 400, "The YAML file names something twice"),
    ErrorRow("FSS.1059", 404, "The template does not exist"),
    ErrorRow("FSS.1061", 409, "The function exists already"),
    ErrorRow("FSS.1062", 409, "The version exists already"),
    ErrorRow("FSS.1063", 409, "The alias exists already"),
    ErrorRow("FSS.1065", 409, "The dependency exists already"),
    ErrorRow("FSS.1066", 409, "Another alias names this version already"),
    ErrorRow("FSS.1068", 403, "The function has as many test events as it may have"),
    ErrorRow("FSS.1069", 403, "The test event is larger than 4 KB"),
    ErrorRow("FSS.1070", 404, "The test event does not exist"),
    ErrorRow("FSS.1071", 413, "The package is larger than an upload may be"),
    ErrorRow("FSS.1073", 403, "The name of the test event is taken"),
    ErrorRow("FSS.1074", 400, "The name or the content of the test event is invalid"),
    ErrorRow("FSS.1075", 400, "The user or group id of the mounts is out of range"),
    ErrorRow("FSS.1076", 400, "So many reserved instances cannot be kept"),
    ErrorRow("FSS.1078", 400, "The name of the code file must be a bare file name"),
    ErrorRow("FSS.1090", 412, "The subnet is not active"),
    ErrorRow("FSS.1091", 400, "The additional version of the alias does not exist"),
    ErrorRow("FSS.1092", 400, "The weight of the additional version is invalid"),
    ErrorRow("FSS.1093", 400, "The additional version is the main version"),
    ErrorRow("FSS.1094", 403, "The version is the additional version of an alias"),
    ErrorRow("FSS.1095", 412, "The file system to mount is not ready"),
    ErrorRow("FSS.1096", 403, "The file system to mount is no NFS"),
    ErrorRow("FSS.1101", 400, "The trigger type is invalid"),
    ErrorRow("FSS.1102", 400, "The data of the SMN trigger is invalid"),
    ErrorRow("FSS.1103", 400, "The data of the DMS trigger is invalid"),
    ErrorRow("FSS.1104", 400, "The data of the DIS trigger is invalid"),
    ErrorRow("FSS.1106", 400, "The data of the OBS trigger is invalid"),
    ErrorRow("FSS.1107", 400, "The data of the APIG trigger is invalid"),
    ErrorRow("FSS.1108", 403, "Another OBS trigger gets the same events"),
    ErrorRow("FSS.1109", 400, "The data of the timer is invalid"),
    ErrorRow("FSS.1110", 400, "The data of the LTS trigger is invalid"),
    ErrorRow("FSS.1112", 400, "The data of the Kafka trigger is invalid"),
    ErrorRow("FSS.1113", 400, "Kafka needs a user and a password"),
    ErrorRow("FSS.1121", 403, "The agency does not exist"),
    ErrorRow("FSS.1122", 403, "The agency has expired, does not trust functions or allows too little"),
    ErrorRow("FSS.1123", 403, "The function has as many pull triggers as it may have"),
    ErrorRow("FSS.1124", 403, "The project has as many APIs as it may have"),
    ErrorRow("FSS.1125", 403, "The project is suspended or read-only"),
    ErrorRow("FSS.1130", 404, "The stream does not exist"),
    ErrorRow("FSS.1131", 404, "The trigger does not exist"),
    ErrorRow("FSS.1132", 404, "The SMN trigger does not exist"),
    ErrorRow("FSS.1133", 404, "The DMS trigger does not exist"),
    ErrorRow("FSS.1134", 404, "The DIS trigger does not exist"),
    ErrorRow("FSS.1136", 404, "The OBS trigger does not exist"),
    ErrorRow("FSS.1137", 404, "The trigger type does not exist"),
    ErrorRow("FSS.1138", 404, "The APIG trigger does not exist"),
    ErrorRow("FSS.1140", 404, "The timer does not exist"),
    ErrorRow("FSS.1141", 409, "The SMN trigger exists already"),
    ErrorRow("FSS.1142", 409, "The DMS trigger exists already"),
    ErrorRow("FSS.1143", 409, "The DIS trigger exists already"),
    ErrorRow("FSS.1145", 409, "The OBS trigger exists already"),
    ErrorRow("FSS.1146", 409, "The APIG trigger exists already"),
    ErrorRow("FSS.1147", 409, "Another trigger answers under this path"),
    ErrorRow("FSS.1148", 409, "The timer exists already"),
    ErrorRow("FSS.1149", 409, "The LTS trigger exists already"),
    ErrorRow("FSS.1150", 409, "The Kafka trigger exists already"),
    ErrorRow("FSS.1153", 412, "Something that the trigger needs is missing"),
    ErrorRow("FSS.1154", 403, "The alias has triggers"),
    ErrorRow("FSS.1160", 404, "The LTS trigger does not exist"),
    ErrorRow("FSS.1163", 404, "The DDS trigger does not exist"),
    ErrorRow("FSS.1164", 400, "The data of the DDS trigger is invalid"),
    ErrorRow("FSS.1166", 409, "The DDS trigger exists already"),
    ErrorRow("FSS.1171", 404, "The topic does not exist"),
    ErrorRow("FSS.1174", 404, "The Kafka trigger does not exist"),
    ErrorRow("FSS.1201", 413, "The body of the invocation is too large"),
    ErrorRow("FSS.1202", 500, "The answer of the function has no status code"),
    ErrorRow("FSS.1206", 500, "The answer of the function is not the object that a gateway needs"),
    ErrorRow("FSS.1221", 400, "The project reports its logs already"),
    ErrorRow("FSS.1305", 400, "The data of the CTS trigger is invalid"),
    ErrorRow("FSS.1306", 400, "There are as many triggers as there may be"),
    ErrorRow("FSS.1307", 400, "The name of the trigger is taken"),
    ErrorRow("FSS.1309", 400, "The function urn is invalid"),
    ErrorRow("FSS.1312", 400, "The name of the CTS trigger is missing"),
    ErrorRow("FSS.1313", 400, "The CTS trigger has too many operations"),
    ErrorRow("FSS.1314", 400, "The CTS trigger has no operations"),
    ErrorRow("FSS.1316", 400, "The CTS trigger names an operation twice"),
    ErrorRow("FSS.1317", 400, "The name of the CTS trigger is too long"),
    ErrorRow("FSS.1318", 400, "The trigger does not allow this operation"),
    # The cloud answers 502, which says that the fault is not the client's.
    ErrorRow("FSS.1319", 400, "The name of the CTS trigger is invalid"),
    ErrorRow("FSS.1404", 400, "The initializer is invalid"),
    ErrorRow("FSS.1405", 400, "The timeout of the initializer is invalid"),
    ErrorRow("FSS.1417", 400, "The data of the dedicated gateway trigger is invalid"),
    ErrorRow("FSS.4001", 500, "The handler could not be loaded"),
    ErrorRow("FSS.4002", 500, "The handler failed"),
    ErrorRow("FSS.4004", 500, "The response is larger than 6 MB"),
    ErrorRow("FSS.4007", 500, "The result cannot be serialised"),
    ErrorRow("FSS.4009", 500, "The initializer failed"),
    ErrorRow("FSS.4010", 500, "The execution took longer than the timeout"),
    ErrorRow("FSS.4201", 500, "The instance could not be initialised"),
    ErrorRow("FSS.4204", 500, "The process of the function ended"),
    ErrorRow("FSS.4205", 500, "The memory limit was exceeded"),
    ErrorRow("FSS.4206", 500, "A file system could not be mounted"),
    ErrorRow("FSS.4207", 500, "The disk limit was exceeded"),
    ErrorRow("FSS.4208", 500, "The invocation was cancelled"),
    ErrorRow("FSS.4211", 500, "The initialisation took too long"),
)

TABLE = {row.code: row for row in _ROWS}


class ModelError(Exception):
    """A request that cannot be carried out, with the code that says why.

    The message is part of the answer: it names the field or thing and says
    what would be right.
    """

    def __init__(self, code: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.row = TABLE[code]
        self.message = message
        self.retry_after_s = retry_after_s
        """When it is worth trying again, for refusals that pass."""

    @property
    def code(self) -> str:
        """The code, such as `FSS.1061`."""
        return self.row.code

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return self.row.status
