"""`python -m plugvisor.engines.supervisord.extension`: supervisord, prepared before it reads its configuration.

`plugvisor up` starts it with the service's open socket. A supervisord that is started in another way works as well: it
reads the files of many programs more slowly, SIGHUP has supervisor's meaning, and the service's socket is not its own
but the service's, or that of an `[fcgi-program:plugvisor]`.
"""

from supervisor.supervisord import main

from plugvisor.engines.supervisord.extension.patches.config_parser import install_linear_parser
from plugvisor.engines.supervisord.extension.patches.hangup import install_hangup
from plugvisor.engines.supervisord.extension.patches.held_socket import install_held_socket

install_linear_parser()
listener = install_held_socket()
if listener is None:
    main()
else:
    install_hangup()
    try:
        main()
    finally:
        listener.remove_file()
