"""The resources of the Terraform provider: which requests each step of their lives sends. Start with `Function`.

Written from the provider's public source; the provider itself cannot be installed here.
"""

from contextlib import suppress

from tests.support.golang_sdk import Unexpected

FUNCTIONS = "/fgs/functions"
# What the provider sends after creating a function, in the body of an update of the configuration.
_LATER = (
    "app_xrole",
    "concurrency_num",
    "enable_auth_in_header",
    "enable_class_isolation",
    "ephemeral_storage",
    "func_vpc",
    "heartbeat_handler",
    "initializer_handler",
    "initializer_timeout",
    "mount_config",
    "peering_cidr",
    "restore_hook_handler",
    "restore_hook_timeout",
)


class Function:
    """`huaweicloud_fgs_function`."""

    def __init__(self, provider, **settings):
        """Prepare; `settings` are the members of bodies, and `tags`, `versions`, `reserved`, `max_instance_num`."""
        self._provider = provider
        self.settings = settings
        self.urn = ""

    @property
    def latest(self):
        """The urn with its version."""
        return f"{self.urn}:latest"

    def create(self):
        """Create it, then everything that the provider sends in requests of its own."""
        own = {"tags", "versions", "reserved", "max_instance_num", "depend_version_list", *_LATER}
        body = {"enterprise_project_id": ""} | {name: one for name, one in self.settings.items() if name not in own}
        made = self._provider.send("POST", FUNCTIONS, body)
        self.urn = made["func_urn"].rpartition(":")[0]
        if self.settings.keys() & set(_LATER):
            self.put_config()
        if "depend_version_list" in self.settings:
            self.put_code()
        if "max_instance_num" in self.settings:
            self._put("config-max-instance", {"max_instance_num": self.settings["max_instance_num"]})
        if "tags" in self.settings:
            self._tags("POST", "create", self.settings["tags"])
        for version in self.settings.get("versions", ()):
            self.add_version(**version)
        for policy in self.settings.get("reserved", ()):
            self._put("reservedinstances", {"count": policy["count"], "idle_mode": False}, qualifier=policy["name"])

    def put_config(self):
        """Update the configuration: without a name, with the package, and with zeros for what is not set."""
        shown = ("package", "runtime", "handler", "timeout", "memory_size", "description", "user_data", "xrole")
        sent = {name: self.settings[name] for name in shown if self.settings.get(name)}
        later = {name: self.settings[name] for name in _LATER if name in self.settings}
        concurrency = later.pop("concurrency_num", 0)
        if concurrency:
            later["strategy_config"] = {"concurrent_num": concurrency}
        always = {"heartbeat_handler": "", "restore_hook_handler": "", "restore_hook_timeout": 0, "peering_cidr": ""}
        always |= {"enable_auth_in_header": False, "enable_class_isolation": False}
        return self._put("config", always | sent | later)

    def put_code(self):
        """Update the code; for other dependencies alone, the code is not sent again."""
        body = {"code_type": self.settings["code_type"], "code_url": "", "code_filename": ""}
        return self._put("code", body | {"depend_version_list": self.settings.get("depend_version_list", [])})

    def add_version(self, *, name, description="", alias=None):
        """Publish a version, and give it an alias."""
        self._post("versions", {"version": name, "description": description})
        if alias is not None:
            self._post("aliases", {"version": name, **alias})

    def remove_version(self, *, name, alias=None):
        """Delete a version and its alias: the provider never updates either."""
        if alias is not None:
            self._provider.send("DELETE", f"{FUNCTIONS}/{self.urn}/aliases/{alias['name']}")
        self._provider.send("DELETE", f"{FUNCTIONS}/{self.urn}:{name}")

    def change_tags(self, old, new):
        """Replace tags."""
        self._tags("DELETE", "delete", old)
        self._tags("POST", "create", new)

    def read(self):
        """Return the state as the provider reads it."""
        send = self._provider.send
        state = dict(send("GET", f"{FUNCTIONS}/{self.urn}/config"))
        with suppress(Unexpected):  # it only logs that
            send("GET", f"{FUNCTIONS}/{self.latest}/lts-log-detail")
        state["max_instance_num"] = state["strategy_config"]["concurrency"]
        state["concurrency_num"] = state["strategy_config"]["concurrent_num"]
        state["versions"] = self._read_versions()
        return state

    def read_reserved(self):
        """Return all policies: pages are asked for until one is empty."""
        found, pages = [], 0
        while True:
            query = f"function_urn={self.latest}&limit=100&marker={len(found)}"
            page = self._provider.send("GET", f"{FUNCTIONS}/reservedinstanceconfigs?{query}")["reserved_instances"]
            pages += 1
            if not page:
                return {one["qualifier_name"]: one["min_count"] for one in found}, pages
            found += page

    def read_tags(self):
        """Return the tags."""
        answer = self._provider.send("GET", f"/functions/{self.latest}/tags")
        return {one["key"]: one["value"] for one in answer["tags"]}

    def delete(self):
        """Delete it; return whether it is gone."""
        self._provider.send("DELETE", f"{FUNCTIONS}/{self.urn}")
        return self._provider.is_gone(f"{FUNCTIONS}/{self.urn}/config")

    def _read_versions(self):
        aliases = self._provider.send("GET", f"{FUNCTIONS}/{self.urn}/aliases")
        by_version = {one["version"]: one for one in aliases}
        versions = self._provider.send("GET", f"{FUNCTIONS}/{self.urn}/versions")["versions"]
        found = []
        for one in versions:
            entry = {"name": one["version"], "description": one["version_description"]}
            if one["version"] in by_version:
                alias = by_version[one["version"]]
                weights = alias.get("additional_version_weights")
                entry["alias"] = {"name": alias["name"], "description": alias["description"]}
                entry["alias"] |= {"additional_version_weights": weights} if weights else {}
            found.append(entry)
        return [one for one in found if one["name"] != "latest"]

    def _put(self, what, body, *, qualifier=""):
        urn = f"{self.urn}:{qualifier}" if qualifier else self.urn
        return self._provider.send("PUT", f"{FUNCTIONS}/{urn}/{what}", body)

    def _post(self, what, body):
        return self._provider.send("POST", f"{FUNCTIONS}/{self.urn}/{what}", body)

    def _tags(self, method, action, tags):
        body = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
        self._provider.send(method, f"/functions/{self.latest}/tags/{action}", body, good={204})


class Trigger:
    """`huaweicloud_fgs_function_trigger`."""

    def __init__(self, provider, function, kind, event_data):
        self._provider, self._function, self.kind = provider, function, kind
        self.event_data = event_data
        self.trigger_id = ""

    @property
    def path(self):
        """Where it is read."""
        return f"/fgs/triggers/{self._function.latest}/{self.kind}/{self.trigger_id}"

    def create(self):
        """Create it."""
        body = {"trigger_type_code": self.kind, "event_data": self.event_data}
        self.trigger_id = self._provider.send("POST", f"/fgs/triggers/{self._function.latest}", body)["trigger_id"]

    def read(self):
        """Return it."""
        return self._provider.send("GET", self.path)

    def update(self, status, event_data=None):
        """Change the status, and the data if there are others: as one object."""
        body = {"trigger_status": status} | ({} if event_data is None else {"event_data": event_data})
        self._provider.send("PUT", self.path, body)

    def delete(self):
        """Delete it; return whether it is gone."""
        self._provider.send("DELETE", self.path)
        return self._provider.is_gone(self.path)
