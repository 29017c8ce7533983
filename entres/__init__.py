"""entres: how long is the bitstream of a split network, and who can make it longer?"""

import warnings

# compressai scripts some functions at import, which recent torch deprecates: no news to a user.
warnings.filterwarnings(
    "ignore", message="`torch.jit.script` is deprecated", category=FutureWarning
)

__version__ = "0.1.0"
