"""Make the runtime's files importable as the runtime itself does."""

import sys
from pathlib import Path

package = type(sys)("_funclet")
package.__path__ = [str(Path(__file__).parents[1])]
sys.modules["_funclet"] = package
