defmodule Palladion.Config.Auth do
  @moduledoc false
  # Internal: who logs in, and under which circumstances the password may be sent.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Options, Schema, Seal}
  alias Palladion.{ConfigError, Secret}

  @derive {Inspect, except: [:password]}
  defstruct [
    :username,
    :password,
    :require_auth,
    :allow_plaintext_password,
    :allowed_authenticators
  ]

  @type t :: %__MODULE__{
          username: String.t(),
          password: Secret.t(),
          require_auth: boolean(),
          allow_plaintext_password: boolean(),
          allowed_authenticators: [String.t()]
        }

  @doc false
  # `plaintext?` says whether the connections have no TLS.
  @spec parse(term(), boolean()) :: {t() | nil, [ConfigError.problem()]}
  def parse(nil, _plaintext?), do: {nil, []}

  def parse(options, plaintext?) do
    if Keyword.keyword?(options) do
      {values, problems} = Options.check(options, Schema.auth(), [:auth])
      build(values, problems, plaintext?)
    else
      # Not shown: there may be a password in it.
      {nil, [problem([:auth], :invalid_value, "must be a keyword list")]}
    end
  end

  defp build(values, problems, plaintext?) do
    {password, password_problems} = password(values.password)

    # A name that is wrong already has its problem.
    username_given? = values.username != nil or mentions?(problems, [:auth, :username])

    problems =
      problems ++
        password_problems ++
        pair(username_given?, password != nil or password_problems != []) ++
        plaintext(values, password, plaintext?) ++
        authenticators(values.allowed_authenticators)

    {struct!(__MODULE__, %{values | password: password}), problems}
  end

  defp mentions?(problems, path), do: Enum.any?(problems, &(&1.path == path))

  defp password(value) do
    case Seal.open(value) do
      {:ok, text} when is_binary(text) -> wrap(text)
      {:ok, secret_or_nil} -> {secret_or_nil, []}
      {:error, reason, message} -> {nil, [problem([:auth, :password], reason, message)]}
    end
  end

  # SASL PLAIN separates its parts by zero bytes.
  defp wrap(text) do
    if String.contains?(text, <<0>>),
      do: {nil, [problem([:auth, :password], :invalid_value, "has a zero byte in it")]},
      else: {Secret.wrap(text), []}
  end

  defp pair(true, true), do: []

  defp pair(false, false) do
    message = "needs username: and password:; leave auth: out to connect without a login"
    [problem([:auth], :required, message)]
  end

  defp pair(true, false), do: [missing(:password, "username")]
  defp pair(false, true), do: [missing(:username, "password")]

  defp missing(name, other) do
    message = "is missing, though #{other}: is given; is an environment variable unset?"
    problem([:auth, name], :required, message)
  end

  defp plaintext(%{allow_plaintext_password: false}, password, true) when password != nil do
    [
      problem(
        [:auth, :allow_plaintext_password],
        :plaintext_password,
        "the password would cross the network unencrypted, for tls: is false; turn TLS on, " <>
          "or set allow_plaintext_password: true where that is acceptable"
      )
    ]
  end

  defp plaintext(_values, _password, _plaintext?), do: []

  defp authenticators(names) do
    if is_list(names) and not List.improper?(names) and
         Enum.all?(names, &match?({:ok, _}, Options.cast(:string, &1))) do
      []
    else
      message = "must be a list of Java class names as strings"
      [problem([:auth, :allowed_authenticators], :invalid_value, message)]
    end
  end
end
