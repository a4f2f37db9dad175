from flask import Blueprint

from .views import Deploys
from .freeze import bp as freeze

bp = Blueprint("deploys", __name__, url_prefix="/api/internal/deploys")
bp.add_url_rule("/", view_func=Deploys.as_view("deploys"))
bp.register_blueprint(freeze, url_prefix="/freeze")
