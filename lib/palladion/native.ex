defmodule Palladion.Native do
  @moduledoc false
  # The native library's functions, and nothing else. Errors are returned as `{kind, map}`,
  # never raised: a stack trace would show arguments.

  @on_load :load

  def load do
    path = Path.join([:code.priv_dir(:palladion), "native", "libpalladion"])
    # The set's fields differ between versions of Elixir.
    :erlang.load_nif(String.to_charlist(path), MapSet.new())
  end

  def secret_new(_value), do: not_loaded()
  def read_pkcs12(_file, _password), do: not_loaded()
  def probe(_request, _ref), do: not_loaded()
  def sigv4_region(_request), do: not_loaded()

  def callbacks_new, do: not_loaded()
  def callbacks_adopt(_callbacks), do: not_loaded()
  def callbacks_answer(_callbacks, _id, _answer), do: not_loaded()

  def cluster_new(_config, _supervisor, _workers, _decoders), do: not_loaded()
  def cluster_close(_handle, _ref, _grace), do: not_loaded()
  def cluster_adopt(_handle, _role), do: not_loaded()
  def cluster_reconnect(_handle, _ref), do: not_loaded()
  def tls_reload(_handle, _tls, _ref), do: not_loaded()
  def auth_update(_handle, _auth), do: not_loaded()
  def cluster_status(_handle), do: not_loaded()
  def cluster_stats(_handle), do: not_loaded()
  def take_events(_handle, _role), do: not_loaded()
  def set_nodes(_handle, _nodes), do: not_loaded()
  def nudge_node(_handle, _node), do: not_loaded()
  def retry_in(_handle, _node, _pause), do: not_loaded()
  def wait_ready(_handle, _ref), do: not_loaded()

  def submit_query(_handle, _ref, _statement, _options), do: not_loaded()
  def submit_query_dirty(_handle, _ref, _statement, _options), do: not_loaded()
  def submit_prepare(_handle, _ref, _statement, _keyspace, _route), do: not_loaded()
  def submit_prepare_dirty(_handle, _ref, _statement, _keyspace, _route), do: not_loaded()
  def submit_execute(_handle, _ref, _statement, _values, _options), do: not_loaded()
  def submit_execute_dirty(_handle, _ref, _statement, _values, _options), do: not_loaded()
  def submit_batch(_handle, _ref, _type, _statements, _options), do: not_loaded()
  def submit_batch_dirty(_handle, _ref, _type, _statements, _options), do: not_loaded()
  def control_query(_handle, _ref, _statement), do: not_loaded()
  def request_node(_request), do: not_loaded()
  def cancel(_request), do: not_loaded()
  def is_over(_request), do: not_loaded()

  def nif_timing, do: not_loaded()

  def runtime_stop(_limit), do: not_loaded()

  defp not_loaded, do: :erlang.nif_error(:nif_not_loaded)
end
