defmodule Palladion.Config.Timeouts do
  @moduledoc false
  # Internal: every wait of a cluster, in milliseconds. They stand at the top of the
  # options and are already checked; here they get their place.

  defstruct [
    :request,
    :attempt,
    :connect,
    :tls,
    :login,
    :shutdown,
    :heartbeat_interval,
    :heartbeat,
    :sync_connect
  ]

  @type t :: %__MODULE__{
          request: pos_integer(),
          attempt: pos_integer() | nil,
          connect: pos_integer(),
          tls: pos_integer(),
          login: pos_integer(),
          shutdown: pos_integer(),
          heartbeat_interval: pos_integer(),
          heartbeat: pos_integer(),
          sync_connect: pos_integer() | false
        }

  @doc false
  @spec build(map()) :: t()
  def build(values) do
    %__MODULE__{
      request: values.timeout,
      attempt: values.attempt_timeout,
      connect: values.connect_timeout,
      tls: values.tls_timeout,
      login: values.login_timeout,
      shutdown: values.shutdown_timeout,
      heartbeat_interval: values.heartbeat_interval,
      heartbeat: values.heartbeat_timeout,
      sync_connect: values.sync_connect
    }
  end
end
