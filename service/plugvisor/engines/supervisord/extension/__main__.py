"""`python -m plugvisor.engines.supervisord.extension`: supervisord, prepared before it reads its configuration.

A supervisord that is started in another way works as well; it reads the files of many programs more slowly.
"""

from supervisor.supervisord import main

from plugvisor.engines.supervisord.extension.patches.config_parser import install_linear_parser

install_linear_parser()
main()
