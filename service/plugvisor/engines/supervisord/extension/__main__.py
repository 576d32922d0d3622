"""`python -m plugvisor.engines.supervisord.extension`: supervisord as `plugvisor up` starts it.

A supervisord that is started in another way works as well: it reads the files of many programs more slowly, and the service opens its socket itself, or has supervisor's `[fcgi-program:x]` open it.
"""

from supervisor.supervisord import main

from plugvisor.engines.supervisord.extension.patches.config_parser import install_linear_parser
from plugvisor.engines.supervisord.extension.patches.held_socket import install_held_socket

install_linear_parser()
listener = install_held_socket()
try:
    main()
finally:
    listener.remove_file()
