#!/bin/sh
# The wheel's server with the wheel's libraries, as the image's own program.
export LD_LIBRARY_PATH=/opt/wheel/lib/python3.11/site-packages/nvidia_pytriton.libs
exec /opt/wheel/server/tritonserver "$@"
