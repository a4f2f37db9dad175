from flask.views import MethodView, View

from base import ConsoleView
from registered import app


class Inherits(ConsoleView, MethodView):
    def get(self):
        return ""


class Computed(View):
    methods = ["GET", "POST"]
    decorators = list(reversed(ConsoleView.decorators))

    def dispatch_request(self):
        return ""


app.add_url_rule("/inherits", view_func=Inherits.as_view("inherits"))
app.add_url_rule("/computed", view_func=Computed.as_view("computed"))
app.add_url_rule("/elsewhere", view_func=ConsoleView.as_view("elsewhere"))
app.add_url_rule("/later", "later")
