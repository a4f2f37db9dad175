from flask.views import MethodView

from ...auth import require_role


class Deploys(MethodView):
    decorators = [require_role("superadmin", "ops", "support", "readonly")]

    def get(self):
        return {}

    @require_role("ops", "superadmin")
    def post(self):
        return {}
