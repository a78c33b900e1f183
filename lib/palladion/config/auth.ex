defmodule Palladion.Config.Auth do
  @moduledoc false
  # Internal: how to log in, and under which circumstances a password may be sent.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.Auth.{Custom, Forms, Login, Mechanism, SigV4}
  alias Palladion.Config.{Options, OtherNames, Schema, Seal}
  alias Palladion.ConfigError

  defstruct [
    :method,
    :ask,
    :require_auth,
    :allowed_authenticators,
    :timeout,
    :source
  ]

  @typedoc """
  The `method` is what `Palladion.Native` takes, with references for secrets. `ask` is what Elixir
  is asked for at each login, if for anything, and `source` the options, both sealed: nothing of
  them can be read without `Palladion.Config.Seal.reveal/1`.
  """
  @type t :: %__MODULE__{
          method: {:sasl, map()} | {:custom, nil} | {:sigv4, map()},
          ask:
            {:credentials, Seal.sealed()}
            | {:aws_credentials, Seal.sealed()}
            | {:authenticator, module(), Seal.sealed()}
            | nil,
          require_auth: boolean(),
          allowed_authenticators: [String.t()],
          timeout: pos_integer(),
          source: keyword()
        }

  # Ways to log in. Some mechanisms are one more.
  @forms [
    password: [:username, :password],
    credentials: [:credentials],
    authenticator: [:authenticator],
    sigv4: [:sigv4]
  ]

  # What belongs to the first two of them, and to such mechanisms.
  @of_sasl [:mechanism, :authorization_id]

  # Under which circumstances we log in, and not how.
  @fixed [:require_auth, :allow_plaintext_password, :allowed_authenticators]

  @doc false
  # `plaintext?` says whether the connections have no TLS. Options may be sealed or not. Reads
  # files, and calls the function of a password.
  @spec parse(term(), boolean(), SigV4.surroundings()) :: {t() | nil, [ConfigError.problem()]}
  def parse(options, plaintext?, surroundings \\ SigV4.surroundings())
  def parse(nil, _plaintext?, _surroundings), do: {nil, []}

  def parse(options, plaintext?, surroundings) do
    if Keyword.keyword?(options) do
      # First, so that a password is the same secret here and in the next update.
      options = Seal.seal_auth(options)

      {values, problems} =
        Options.check(options, Schema.Auth.options(), [:auth], &OtherNames.auth/1)

      {mechanism, mechanism_problems} = Mechanism.parse(values.mechanism)
      {form, form_problems} = form(values, mechanism, mechanism_problems)
      {{method, ask}, more_problems} = build(form, values, mechanism, surroundings)

      auth = %__MODULE__{
        method: method,
        ask: ask,
        require_auth: values.require_auth,
        allowed_authenticators: values.allowed_authenticators,
        timeout: values.timeout,
        source: options
      }

      {auth,
       problems ++
         mechanism_problems ++
         form_problems ++
         more_problems ++
         plaintext(method, plaintext? and not values.allow_plaintext_password) ++
         certificate(mechanism, plaintext?) ++
         authenticators(values.allowed_authenticators)}
    else
      # Not shown: there may be a password in it.
      {nil, [problem([:auth], :invalid_value, "must be a keyword list")]}
    end
  end

  # Which form

  defp form(values, mechanism, mechanism_problems) do
    given = Forms.given(values, @forms)
    mechanisms = if Mechanism.without_password?(mechanism), do: [mechanism: :mechanism], else: []

    case given ++ mechanisms do
      [{form, _name}] -> {form, []}
      # It may have been meant to be one.
      [] when mechanism_problems != [] -> {nil, []}
      [] -> {nil, [nothing()]}
      several -> {nil, Forms.conflicts(several, [:auth])}
    end
  end

  defp nothing do
    message =
      "needs username: and password:, credentials:, authenticator:, sigv4: or mechanism: " <>
        ":external; leave auth: out to connect without a login"

    problem([:auth], :required, message)
  end

  defp build(nil, _values, _mechanism, _surroundings), do: {{nil, nil}, []}

  defp build(:password, values, mechanism, _surroundings),
    do: values |> Login.by_name() |> sasl(mechanism)

  defp build(:credentials, values, mechanism, _surroundings),
    do: values |> Login.by_credentials() |> sasl(mechanism)

  defp build(:mechanism, values, mechanism, _surroundings),
    do: sasl({{{:none, values.authorization_id}, nil}, []}, mechanism)

  defp build(:authenticator, values, _mechanism, _surroundings) do
    {ask, problems} = Custom.parse(values.authenticator)
    {{{:custom, nil}, ask}, problems ++ without_effect(values, :authenticator)}
  end

  defp build(:sigv4, values, _mechanism, surroundings) do
    {{sigv4, ask}, problems} = SigV4.parse(values.sigv4, surroundings)
    {{{:sigv4, sigv4}, ask}, problems ++ without_effect(values, :sigv4)}
  end

  defp sasl({{credentials, ask}, problems}, %{names: names, negotiate: negotiate}) do
    method = {:sasl, %{mechanisms: names, negotiate: negotiate, credentials: credentials}}
    {{method, ask}, problems}
  end

  defp without_effect(values, form) do
    for name <- @of_sasl, values[name] != nil do
      problem([:auth, name], :conflict, "can't be given together with #{form}:")
    end
  end

  # What protects it

  defp plaintext(method, true), do: for(what <- exposed(method), do: refused(what))
  defp plaintext(_method, false), do: []

  # Nothing where nothing is told that is of use to others.
  defp exposed(nil), do: []
  defp exposed({:custom, _}), do: ["what the authenticator sends"]
  defp exposed({:sigv4, _}), do: ["what SigV4 sends, such as a session token,"]
  defp exposed({:sasl, %{mechanisms: names}}), do: Mechanism.exposed(names)

  defp refused(what) do
    problem(
      [:auth, :allow_plaintext_password],
      :plaintext_password,
      "#{what} would cross the network unencrypted, for tls: is false; turn TLS on, " <>
        "or set allow_plaintext_password: true where that is acceptable"
    )
  end

  defp certificate(%{names: names}, plaintext?) do
    if plaintext? and :external in names do
      message = "is :external, the login by the certificate of TLS, and tls: is false"
      [problem([:auth, :mechanism], :conflict, message)]
    else
      []
    end
  end

  defp authenticators(names) do
    if is_list(names) and not List.improper?(names) and
         Enum.all?(names, &match?({:ok, _}, Options.cast(:string, &1))) do
      []
    else
      message = "must be a list of Java class names as strings"
      [problem([:auth, :allowed_authenticators], :invalid_value, message)]
    end
  end

  @doc false
  # `tls` is the option as it was given: a login by certificate needs one.
  @spec identity(t() | nil, term()) :: [ConfigError.problem()]
  def identity(auth, tls), do: certified(auth, not without_certificate?(tls))

  defp certified(%__MODULE__{method: {:sasl, %{mechanisms: names}}}, certificate?) do
    if :external in names and not certificate? do
      message =
        "is :external, the login by the certificate of TLS, and there is none: it needs " <>
          "tls: [certfile: ..., keyfile: ...]"

      [problem([:auth, :mechanism], :missing_certificate, message)]
    else
      []
    end
  end

  defp certified(_auth, _certificate?), do: []

  # `false`, and what is no option at all, is told elsewhere.
  defp without_certificate?(true), do: true

  defp without_certificate?(tls),
    do: Keyword.keyword?(tls) and Enum.all?([:certfile, :cert], &(tls[&1] == nil))

  @doc false
  # One answer of the user's must be over before the login is, or the reason would be another. What
  # isn't given fits in. `login_timeout` is in ms.
  @spec within(t() | nil, pos_integer()) :: {t() | nil, [ConfigError.problem()]}
  def within(nil, _login_timeout), do: {nil, []}

  def within(%__MODULE__{timeout: timeout, source: source} = auth, login_timeout) do
    cond do
      source[:timeout] == nil ->
        {%{auth | timeout: min(timeout, max(div(login_timeout * 4, 5), 1))}, []}

      source[:timeout] == timeout and timeout >= login_timeout ->
        message = "must be less than login_timeout:, which is #{login_timeout} ms"
        {auth, [problem([:auth, :timeout], :conflict, message)]}

      true ->
        {auth, []}
    end
  end

  # Changes

  @typedoc """
  What of a cluster a login depends on. `region` is the one that it is known to be in.
  """
  @type circumstances :: %{
          plaintext?: boolean(),
          certificate?: boolean(),
          login_timeout: pos_integer(),
          region: String.t() | nil
        }

  @doc false
  # All once more, with changes over what was given, sealed or not. `nil` takes an option away.
  @spec update(t() | nil, term(), circumstances(), SigV4.surroundings()) ::
          {:ok, t()} | {:error, [ConfigError.problem(), ...]}
  def update(auth, changes, circumstances, surroundings \\ SigV4.surroundings()) do
    source = if auth, do: auth.source, else: []

    with :ok <- changeable(source, changes),
         options = source |> override(changes) |> without_nil(),
         {updated, []} <- parse_in(options, circumstances, surroundings) do
      {:ok, updated}
    else
      {:error, problems} -> {:error, problems}
      {_auth, problems} -> {:error, problems}
    end
  end

  defp parse_in(options, circumstances, surroundings) do
    %{plaintext?: plaintext?, region: region, login_timeout: login_timeout} = circumstances
    {auth, problems} = parse(options, plaintext?, Map.put(surroundings, :here, region))
    {auth, timeout_problems} = within(auth, login_timeout)

    # Without TLS there is a problem already.
    identity_problems = certified(auth, plaintext? or circumstances.certificate?)
    {auth, problems ++ timeout_problems ++ identity_problems ++ elsewhere(auth, region)}
  end

  defp elsewhere(%__MODULE__{method: {:sigv4, %{region: other}}}, region)
       when region != nil and other not in [nil, region] do
    message =
      "is #{other}, and the cluster is in #{region}, by profile: :keyspaces and its contact " <>
        "points: for another region start another cluster"

    [problem([:auth, :sigv4, :region], :conflict, message)]
  end

  defp elsewhere(_auth, _region), do: []

  defp changeable(source, changes) do
    if Keyword.keyword?(changes) do
      fixed = for name <- @fixed, Keyword.has_key?(changes, name), do: needs_restart(name)
      problems = fixed ++ unset(source, changes)
      if problems == [], do: :ok, else: {:error, problems}
    else
      {:error, [problem([:auth], :invalid_value, "must be a keyword list")]}
    end
  end

  defp needs_restart(name) do
    message = "can't be changed while the cluster runs: change the configuration and restart it"
    problem([:auth, name], :needs_restart, message)
  end

  defp unset(source, changes) do
    in_force = source |> Forms.given(@forms) |> Keyword.keys()
    forms = if form_of(changes) == :mechanism, do: [], else: @forms

    Forms.missing(Forms.unset(in_force, changes, forms), [:auth]) ++
      SigV4.unset(source[:sigv4], changes[:sigv4])
  end

  defp without_nil(options), do: Enum.reject(options, fn {_name, value} -> value == nil end)

  @doc false
  # Options over others. Those of another form replace the form below.
  @spec override(keyword(), keyword()) :: keyword()
  def override(below, above) do
    below
    |> Forms.without_others(above, @forms)
    |> Keyword.drop(unshared(form_of(below), form_of(above)))
    |> Keyword.merge(above, &merge_option/3)
  end

  # As one word, `nil` where there is none. A mechanism without a password excludes those with.
  defp form_of(options) do
    {mechanism, _problems} = Mechanism.parse(options[:mechanism])

    cond do
      Mechanism.without_password?(mechanism) -> :mechanism
      given = List.first(Forms.given(options, @forms)) -> elem(given, 0)
      true -> nil
    end
  end

  @shared [:password, :credentials]
  @alone @forms |> Keyword.values() |> Enum.concat()

  defp unshared(_below, nil), do: []
  defp unshared(same, same), do: []
  defp unshared(below, above) when below in @shared and above in @shared, do: []
  defp unshared(_below, :mechanism), do: @of_sasl ++ @alone
  defp unshared(_below, _above), do: @of_sasl

  defp merge_option(:sigv4, below, above) do
    if Keyword.keyword?(below) and Keyword.keyword?(above),
      do: SigV4.override(below, above),
      else: above
  end

  defp merge_option(_name, _below, above), do: above

  # What becomes of it

  @doc false
  # What is allowed, and yet worth a line in the log of whoever runs it, without TLS.
  @spec warnings(t() | nil) :: [{ConfigError.path(), String.t()}]
  def warnings(nil), do: []

  def warnings(%__MODULE__{method: method}) do
    for what <- exposed(method),
        do: {[:auth, :allow_plaintext_password], "#{what} crosses the network unencrypted"}
  end

  @doc false
  # What `Palladion.Native` takes, for a cluster and for an update.
  @spec to_native(t()) :: map()
  def to_native(%__MODULE__{} = auth),
    do: Map.take(auth, [:method, :require_auth, :allowed_authenticators, :timeout])

  defimpl Inspect do
    import Inspect.Algebra

    # No secret is in it, but the name of a key: reports of supervisors show this struct.
    def inspect(auth, options) do
      shown = auth |> @for.to_native() |> Map.update!(:method, &without_key/1)
      concat(["#Palladion.Config.Auth<", to_doc(Map.to_list(shown), options), ">"])
    end

    defp without_key({:sigv4, %{credentials: {:static, keys}} = sigv4}),
      do: {:sigv4, %{sigv4 | credentials: {:static, Map.delete(keys, :access_key_id)}}}

    defp without_key(method), do: method
  end
end
