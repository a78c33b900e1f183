defmodule Palladion.Doctor.Step do
  @moduledoc false
  # Internal: one thing that was looked at, and what is to be said of it. The fields are for
  # every format; `lines` is for readers, `data` the same and more for programs.

  alias Palladion.ConnectionError

  @enforce_keys [:id, :title, :status, :summary]
  defstruct [:id, :title, :status, :summary, :reason, :advice, lines: [], data: []]

  @typedoc "`:warning` is worth a look, and no reason why a connection fails"
  @type status :: :ok | :warning | :problem | :skipped

  @type t :: %__MODULE__{
          id: atom(),
          title: String.t(),
          status: status(),
          summary: String.t(),
          reason: atom() | nil,
          advice: String.t() | nil,
          lines: [String.t()],
          data: keyword()
        }

  @titles [
    dns: "DNS",
    tcp: "TCP",
    tls: "TLS",
    chain: "Certificates",
    trust: "Trust",
    name: "Name",
    client_certificate: "Client certificate",
    resumption: "Resumption",
    protocol: "CQL",
    authenticator: "Authenticator",
    login: "Login"
  ]

  @doc false
  @spec new(atom(), status(), String.t(), keyword()) :: t()
  def new(id, status, summary, fields \\ []) do
    struct!(
      %__MODULE__{id: id, title: Keyword.fetch!(@titles, id), status: status, summary: summary},
      fields
    )
  end

  @doc false
  # An error as it comes from the native library, with the text and advice of the exception
  # that it would be.
  @spec failed(atom(), {atom(), map()}, keyword()) :: t()
  def failed(id, {kind, details}, fields \\ []) do
    error = error({kind, details})
    status = Keyword.get(fields, :status, :problem)
    told = [reason: kind, advice: ConnectionError.advice(error)]
    new(id, status, ConnectionError.summary(error), Keyword.merge(told, fields))
  end

  @doc false
  @spec text({atom(), map()}) :: String.t()
  def text(failure), do: failure |> error() |> ConnectionError.summary()

  @doc false
  # What comes before it failed, or was refused.
  @spec not_reached(atom()) :: t()
  def not_reached(id), do: new(id, :skipped, "not reached", reason: :not_reached)

  @doc false
  # What would have told something to a server that isn't verified.
  @spec not_verified(atom()) :: t()
  def not_verified(id),
    do: new(id, :skipped, "not tried with a server that isn't verified", reason: :not_verified)

  @doc false
  @spec time(non_neg_integer()) :: String.t()
  def time(us) when us < 10_000, do: "#{Float.round(us / 1_000, 1)} ms"
  def time(us), do: "#{div(us, 1_000)} ms"

  @doc false
  @spec list([String.t(), ...]) :: String.t()
  def list([only]), do: only

  def list(many) do
    {init, [last]} = Enum.split(many, -1)
    Enum.join(init, ", ") <> " and " <> last
  end

  # Where it is, the report says once.
  defp error(failure), do: %{ConnectionError.from_native(failure) | endpoint: nil}
end
